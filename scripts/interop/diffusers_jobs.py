"""The Python side of `npm run interop`: does with diffusers what the JSON list on its standard input says, in order.

Each job is an object with `do`:
  save     loads the pipeline `folder` and saves it to `to`, with the options of save_pretrained that are given
  predict  runs the network of `folder` on the tensors of `io` and writes its `output` to `to`
  draw     draws two pictures with `pipeline` from `folder` in `steps`; writes them, in [0, 1] (NCHW), and their x_T to `to`
"""
import json
import os
import sys
import warnings

import diffusers
import torch
from safetensors.torch import load_file, save_file

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
# Newer releases call `torch_dtype` otherwise.
warnings.filterwarnings("ignore", category=FutureWarning)


def place_of_network(folder):
    """diffusers looks in the pipeline's own folder for a part that has none."""
    inside = os.path.join(folder, "unet")
    return inside if os.path.isdir(inside) else folder


def how_to_load(place):
    """Weights in `.bin` only where there are no others; and only the slower way of loading knows the names of 2022."""
    has_safetensors = any(name.startswith("diffusion_pytorch_model") and ".safetensors" in name for name in os.listdir(place))
    return {"use_safetensors": has_safetensors, "low_cpu_mem_usage": False}


def network(folder, variant=None):
    """The network of a pipeline, in float32 whatever the files hold."""
    place = place_of_network(folder)
    unet = diffusers.UNet2DModel.from_pretrained(place, variant=variant, **how_to_load(place))
    return unet.to(torch.float32).eval()


def save(job):
    options = how_to_load(place_of_network(job["folder"]))
    if "dtype" in job:
        options["torch_dtype"] = getattr(torch, job["dtype"])
    pipeline = diffusers.DDPMPipeline.from_pretrained(job["folder"], **options)
    saved = pipeline.unet if job.get("only_network") else pipeline
    saved.save_pretrained(job["to"], **job.get("options", {}))


def predict(job):
    io = load_file(job["io"])
    labels = {"class_labels": io["class_labels"]} if "class_labels" in io else {}
    with torch.no_grad():
        output = network(job["folder"], job.get("variant"))(io["sample"], io["timesteps"], **labels).sample
    save_file({"output": output.contiguous()}, job["to"])


def draw(job):
    pipeline = getattr(diffusers, job["pipeline"]).from_pretrained(job["folder"])
    pipeline.set_progress_bar_config(disable=True)
    config = pipeline.unet.config
    shape = (2, config.in_channels, config.sample_size, config.sample_size)
    # What the pipeline draws from a generator of this seed before all else.
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    images = pipeline(
        batch_size=2,
        generator=torch.Generator().manual_seed(7),
        num_inference_steps=job["steps"],
        output_type="np",
    ).images
    pictures = torch.from_numpy(images).reshape(2, *shape[2:], shape[1]).permute(0, 3, 1, 2).contiguous()
    save_file({"x_T": noise, "images": pictures}, job["to"])


for job in json.load(sys.stdin):
    {"save": save, "predict": predict, "draw": draw}[job["do"]](job)
print(f"diffusers {diffusers.__version__}, PyTorch {torch.__version__}")
