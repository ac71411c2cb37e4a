"""Does with diffusers what the benchmarks do: reads jobs from stdin, one JSON object a line, and answers with seconds.

With an argument, does one job by itself in this process: `peer.py memory-sampling`, `memory-training` or `start FOLDER`.
"""

import json
import sys
import time

import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

PRESETS = {
    "cifar10": dict(
        sample_size=32, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), attention_head_dim=None,
        norm_eps=1e-6, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, dropout=0.1,
    ),
    "tiny": dict(
        sample_size=32, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), attention_head_dim=None, norm_num_groups=8,
        norm_eps=1e-6, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, dropout=0.0,
    ),
}

kept = {}


def once(key, make):
    if key not in kept:
        kept[key] = make()
    return kept[key]


def network(preset, channels_last, compiled, training):
    def make():
        model = UNet2DModel(**PRESETS[preset])
        model.train(training)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        if not compiled:
            return model, model
        if not training:
            import torch._inductor.config as inductor

            inductor.freezing = True
        return model, torch.compile(model)

    return once(("network", preset, channels_last, compiled, training), make)


def images(batch, channels_last):
    x = once(("images", batch), lambda: torch.randn(batch, 3, 32, 32))
    return x.to(memory_format=torch.channels_last) if channels_last else x


def autocast(precision):
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def forward(job):
    _, model = network(job["preset"], job["channelsLast"], job["compiled"], False)
    x = images(job["batch"], job["channelsLast"])
    t = torch.full((job["batch"],), 500)
    with torch.no_grad(), autocast(job["precision"]):
        model(x, t).sample


def training(job):
    plain, model = network(job["preset"], job["channelsLast"], job["compiled"], True)
    key = ("training", job["preset"], job["channelsLast"], job["compiled"])
    parameters = list(plain.parameters())
    optimizer = once(key, lambda: torch.optim.Adam(parameters, lr=1e-4, fused=True))
    average = once((*key, "ema"), lambda: [p.detach().clone() for p in parameters])
    scheduler = once("scheduler", DDPMScheduler)
    x = images(job["batch"], job["channelsLast"])
    t = torch.randint(0, 1000, (job["batch"],))
    noise = torch.randn_like(x)
    optimizer.zero_grad()
    with autocast(job["precision"]):
        predicted = model(scheduler.add_noise(x, noise, t), t).sample
    loss = torch.nn.functional.mse_loss(predicted.float(), noise)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    torch._foreach_lerp_(average, [p.detach() for p in parameters], 1e-4)
    loss.item()


def sampling(job):
    model, _ = network(job["preset"], False, False, False)
    pipeline = once(("pipeline", job["preset"]), lambda: DDPMPipeline(unet=model, scheduler=DDPMScheduler()))
    pipeline.set_progress_bar_config(disable=True)
    pipeline(batch_size=job["batch"], num_inference_steps=job["steps"])


JOBS = {"forward": forward, "training": training, "sampling": sampling}


def answer(job):
    if job["job"] == "versions":
        import diffusers

        return {"seconds": 0, "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__}}
    start = time.perf_counter()
    for _ in range(job.get("times", 1)):
        JOBS[job["job"]](job)
    return {"seconds": (time.perf_counter() - start) / job.get("times", 1)}


def alone(what, *arguments):
    if what == "memory-sampling":
        model = UNet2DModel(**PRESETS["cifar10"]).eval()
        pipeline = DDPMPipeline(unet=model, scheduler=DDPMScheduler())
        pipeline.set_progress_bar_config(disable=True)
        with autocast(arguments[0]):
            pipeline(batch_size=8, num_inference_steps=4)
    elif what == "memory-training":
        for _ in range(3):
            training({"preset": "cifar10", "channelsLast": False, "compiled": False, "precision": arguments[0], "batch": 8})
    elif what == "start":
        from diffusers import DDIMPipeline

        pipeline = DDIMPipeline.from_pretrained(arguments[0])
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        pipeline(batch_size=1, num_inference_steps=5)
    if what.startswith("memory"):
        import resource

        print(json.dumps({"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if len(sys.argv) > 1:
    alone(*sys.argv[1:])
else:
    for line in sys.stdin:
        try:
            print(json.dumps(answer(json.loads(line))), flush=True)
        except Exception as error:  # told to the other side, which knows what it asked for
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
