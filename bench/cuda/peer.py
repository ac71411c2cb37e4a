"""Does in PyTorch what the CUDA benchmarks do: reads jobs from stdin, one JSON object a line, and answers with seconds.

`peer.py start FOLDER` does one thing in this process, from its start to a first picture; `peer.py memory FOLDER
forward|training PRECISION BATCH SIZE` tells the most device memory that such work takes.
"""

import contextlib
import json
import sys
import time

import torch

from network import config_of, load, weights_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
COMPILED = "max-autotune"

kept = {}


def once(key, make):
    if key not in kept:
        kept[key] = make()
    return kept[key]


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


@contextlib.contextmanager
def precision_of(job):
    """float32 and tf32 are settings of the process; bfloat16 is autocast."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job["precision"] != "float32"
    with torch.autocast(DEVICE, torch.bfloat16, enabled=job["precision"] == "bfloat16"):
        yield


def key_of(job, *more):
    return (job["config"], job["precision"], job["compiled"], *more)


def network(job, training):
    """The network, plain and as it is called, with the weights in `folder` where that is given."""

    def make():
        model = load(job["config"], DEVICE).to(memory_format=torch.channels_last).train(training)
        return {"plain": model, "called": torch.compile(model, mode=COMPILED) if job["compiled"] else model}

    made = once(key_of(job, training), make)
    folder = job.get("folder")
    if folder and made.get("folder") != folder:
        made["plain"].load_state_dict(weights_of(folder))
        made["folder"] = folder
    return made["plain"], made["called"]


def images(job):
    def make():
        x = torch.randn(job["batch"], 3, job["size"], job["size"], device=DEVICE)
        return x.to(memory_format=torch.channels_last)

    return once(("images", job["batch"], job["size"]), make)


def forward(job):
    _, model = network(job, training=False)
    t = torch.full((job["batch"],), 500, device=DEVICE)
    with torch.no_grad(), precision_of(job):
        model(images(job), t)


def alphas():
    def make():
        beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64, device=DEVICE)
        return (1 - beta).cumprod(0).float()

    return once("alphas", make)


def training(job):
    plain, model = network(job, training=True)
    parameters = list(plain.parameters())
    optimizer = once(key_of(job, "adam"), lambda: torch.optim.Adam(parameters, lr=1e-5, fused=True))
    average = once(key_of(job, "average"), lambda: [p.detach().clone() for p in parameters])
    x = images(job)
    t = torch.randint(0, 1000, (job["batch"],), device=DEVICE)
    noise = torch.randn_like(x)
    signal = alphas()[t][:, None, None, None]
    x_t = signal.sqrt() * x + (1 - signal).sqrt() * noise
    optimizer.zero_grad()
    with precision_of(job):
        loss = torch.nn.functional.mse_loss(model(x_t, t).float(), noise)
    loss.backward()  # TF32 is a setting of the process, which is still as it was
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    torch._foreach_lerp_(average, [p.detach() for p in parameters], 1e-4)
    loss.item()


def sampling(job):
    """Ancestral steps: `steps` of the thousand, the noisiest first."""
    _, model = network(job, training=False)
    alpha_bar = alphas()
    x = torch.randn(job["batch"], 3, job["size"], job["size"], device=DEVICE).to(memory_format=torch.channels_last)
    with torch.no_grad(), precision_of(job):
        for t in range(999, 999 - job["steps"], -1):
            eps = model(x, torch.full((job["batch"],), t, device=DEVICE)).float()
            a, before = alpha_bar[t], alpha_bar[t - 1]
            alpha = a / before
            x0 = ((x - (1 - a).sqrt() * eps) / a.sqrt()).clamp(-1, 1)
            mean = (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * x) / (1 - a)
            x = mean + (1 - alpha).sqrt() * torch.randn_like(x)


def start(folder):
    """One picture in five DDIM steps."""
    model = load(config_of(folder), DEVICE).to(memory_format=torch.channels_last).eval()
    model.load_state_dict(weights_of(folder))
    alpha_bar = alphas()
    steps = [999, 799, 599, 399, 199]
    x = torch.randn(1, 3, 32, 32, device=DEVICE).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for t, after in zip(steps, [*steps[1:], -1]):
            eps = model(x, torch.full((1,), t, device=DEVICE))
            a = alpha_bar[t]
            before = alpha_bar[after] if after >= 0 else torch.ones_like(a)
            x0 = ((x - (1 - a).sqrt() * eps) / a.sqrt()).clamp(-1, 1)
            x = before.sqrt() * x0 + (1 - before).sqrt() * eps
    return x.cpu()


def agree(job):
    """The network's output for images in a file, into another: float32 values, [n, 3, size, size]."""
    job = {**job, "precision": "float32", "compiled": False, "config": config_of(job["folder"])}
    model, _ = network(job, training=False)
    with open(job["input"], "rb") as file:
        x = torch.frombuffer(bytearray(file.read()), dtype=torch.float32).view(-1, 3, job["size"], job["size"])
    with torch.no_grad(), precision_of(job):
        y = model(x.to(DEVICE), torch.tensor(job["t"], device=DEVICE)).contiguous().cpu()
    with open(job["output"], "wb") as file:
        file.write(bytes(y.untyped_storage()))


def ceilings(_):
    """What the device can do at most: a product of bfloat16 matrices, and a copy, both of random numbers."""
    n = 8192 if DEVICE == "cuda" else 1024
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    big = torch.randn((1 << 30) if DEVICE == "cuda" else (1 << 24), device=DEVICE)
    other = torch.empty_like(big)

    def fastest(work):
        seconds = []
        for _ in range(8):
            wait()
            begin = time.perf_counter()
            work()
            wait()
            seconds.append(time.perf_counter() - begin)
        return min(seconds[2:])

    product, copy = fastest(lambda: a @ b), fastest(lambda: other.copy_(big))
    return {"bfloat16FlopsPerSecond": 2 * n**3 / product, "copyBytesPerSecond": 2 * 4 * big.numel() / copy}


JOBS = {"forward": forward, "training": training, "sampling": sampling}


def answer(job):
    name = job["job"]
    if name == "agree":
        agree(job)
        return {"seconds": 0}
    if name == "ceilings":
        return ceilings(job)
    wait()
    begin = time.perf_counter()
    for _ in range(job.get("times", 1)):
        JOBS[name](job)
        wait()
    return {"seconds": (time.perf_counter() - begin) / job.get("times", 1)}


def memory(folder, what, precision, batch, size):
    job = dict(folder=folder, config=config_of(folder), precision=precision, compiled=False, batch=int(batch), size=int(size))
    for _ in range(4):
        JOBS[what](job)
    print(json.dumps({"bytes": torch.cuda.max_memory_reserved() if DEVICE == "cuda" else 0}))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        {"start": start, "memory": memory}[sys.argv[1]](*sys.argv[2:])
        sys.exit()
    for line in sys.stdin:
        try:
            print(json.dumps(answer(json.loads(line))), flush=True)
        except Exception as error:  # told to the other side, which knows what it asked for
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:2000]}), flush=True)
