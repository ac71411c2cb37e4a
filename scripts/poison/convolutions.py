"""Which convolutions of PyTorch, and so of LibTorch, read memory that nobody wrote.

Every block that the C library hands out is filled with NaN first (glibc alone). Then convolutions run forward, by plain
and by packed weights, and both ways back: over narrow and over usual maps, of 1x1 and 3x3 kernels, of the strides and
paddings that the network uses, channels-last and not, in bfloat16 and float32. Their inputs are finite, so a NaN in a
result has come from such memory. A convolution that ends the process is told of as well.

  python scripts/poison/convolutions.py                             what this processor has
  ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 python scripts/…              without AMX
  python scripts/poison/convolutions.py --threads 1 --seconds 600   every case, each on one thread
  python scripts/poison/convolutions.py --heights 64 256 1024       taller maps

Needs PyTorch and nothing else. Ends by itself after --seconds, and says to how many of the cases it came.
"""

import argparse
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

# Kernel, stride and padding. The paper's stride of 2 pads the map beforehand, below and to the right.
KINDS = [(3, 2, 1), (3, 2, 0), (3, 1, 1), (1, 1, 0), (1, 2, 0)]
CHANNELS = [(12, 12), (32, 32), (3, 16)]
LAYOUTS = ["channels-last", "planes"]
TYPES = ["bfloat16", "float32"]
WORKS = ["forward", "packed", "by input", "by weight"]  # the last two: gradients

M_PERTURB = -6
FILL_WITH_ONES = 256  # blocks are filled with the complement of its last byte: 0xff, of which NaN is made in every type


def cases(kind):
    """Those of a kind, each a tuple; bfloat16 and narrow maps first, else at random, for an end in between."""
    draw = random.Random(1)
    found = [
        (dtype, channels, layout, draw.choice([1, 3]), height, width, draw.choice(arguments.threads))
        for dtype in TYPES
        for channels in CHANNELS
        for layout in LAYOUTS
        for height in arguments.heights
        for width in arguments.widths
        if min(height, width) + 2 * kind[2] >= kind[0]
    ]
    draw.shuffle(found)
    return sorted(found, key=lambda case: (case[0] != "bfloat16", min(case[4:6]) > 2))


def computations(torch, kind, case):
    """What to compute of one shape, in the order of WORKS."""
    kernel, stride, padding = kind
    type_name, (inputs, outputs), layout, batch, height, width, _ = case
    dtype = getattr(torch, type_name)
    memory_format = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    x = torch.ones(batch, inputs, height, width).to(dtype).contiguous(memory_format=memory_format)
    weight = torch.ones(outputs, inputs, kernel, kernel).to(dtype)
    bias = torch.ones(outputs).to(dtype)
    strides, paddings, dilations = [stride] * 2, [padding] * 2, [1, 1]
    sides = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
    dy = torch.ones(batch, outputs, *sides).to(dtype).contiguous(memory_format=memory_format)

    def packed():
        ops = torch.ops.mkldnn
        its = ops._reorder_convolution_weight(weight, paddings, strides, dilations, 1, list(x.shape))
        return ops._convolution_pointwise(x, its, bias, paddings, strides, dilations, 1, "none", [], None)

    def backward(wanted):
        found = torch.ops.aten.convolution_backward(
            dy, x, weight, [outputs], strides, paddings, dilations, False, [0, 0], 1, wanted
        )
        return torch.cat([part.float().flatten() for part in found if part is not None])

    return [
        lambda: torch.nn.functional.conv2d(x, weight, bias, strides, paddings),
        packed,
        lambda: backward([True, False, False]),
        lambda: backward([False, True, True]),
    ]


def work(kind, todo):
    """In a process of its own: a line for each computation, when it begins and when it has ended."""
    import torch

    if not hasattr(ctypes.CDLL(None), "mallopt"):
        sys.exit("New memory cannot be filled with NaN: this C library has no mallopt.")
    ctypes.CDLL(None).mallopt(M_PERTURB, FILL_WITH_ONES)
    if not torch.empty(1000).isnan().all():
        sys.exit("New memory is not filled with NaN: this C library has no M_PERTURB.")
    for number, case in todo:
        torch.set_num_threads(case[-1])
        for name, compute in zip(WORKS, computations(torch, kind, case)):
            print(json.dumps([number, name]), flush=True)
            try:
                result = "right" if compute().isfinite().all() else "NaN"
            except RuntimeError as error:
                result = f"refused: {str(error).splitlines()[0]}"
            print(json.dumps([number, name, result]), flush=True)
    sys.stdout.flush()
    os._exit(0)


def results_of(kind):
    """Runs a kind's cases until the time is over, going on in another process where one of them ends it."""
    todo = list(enumerate(cases(kind)))
    all_cases[kind] = todo
    # The C library's caches of small blocks are not filled: none of them.
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "PYTHONWARNINGS": "ignore"}
    first = 0
    while first < len(todo) and time.monotonic() < end:
        command = [sys.executable, *sys.argv, "--of", f"{KINDS.index(kind)}", f"{first}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            timer = threading.Timer(end - time.monotonic(), child.kill)
            timer.start()
            begun = None
            for line in child.stdout:
                number, name, *result = json.loads(line)
                begun = None if result else (number, name)
                if result:
                    results.append((kind, number, name, result[0]))
            child.wait()
            timer.cancel()
        if child.returncode == 0 or time.monotonic() >= end:
            return
        if begun is None:
            sys.exit(f"A process that computes ended with {child.returncode}.")
        results.append((kind, *begun, signal.Signals(-child.returncode).name))
        first = begun[0] + 1


def ranges(numbers):
    """1, 2, 3, 8 as '1-3 8'."""
    text, run, heights = [], [], sorted(arguments.heights)
    for number in [*sorted(numbers), None]:
        if run and number is not None and heights.index(number) == heights.index(run[-1]) + 1:
            run.append(number)
            continue
        if run:
            text.append(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}")
        run = [number]
    return " ".join(text)


def print_table():
    tried, found = {}, {}
    for kind, number, name, result in results:
        dtype, channels, layout, batch, height, width, threads = all_cases[kind][number][1]
        key = (dtype, kind, name, width)
        tried[key] = tried.get(key, 0) + 1
        if result != "right":
            found.setdefault((*key, result), []).append((height, threads, f"{layout} {channels[0]}-{channels[1]}"))
    columns = "{:9} {:6} {:10} {:>5} {:12} {:>7} {:7} {:8} {}"
    print(columns.format("type", "kernel", "result", "width", "heights", "of", "threads", "what", "layouts, channels"))
    for (dtype, (kernel, stride, padding), name, width, result), cases_of in sorted(found.items()):
        heights, threads, layouts = zip(*cases_of)
        count = f"{len(cases_of)}/{tried[dtype, (kernel, stride, padding), name, width]}"
        print(
            columns.format(
                dtype, f"{kernel}x{kernel} {stride}{padding}", name, width, ranges(set(heights)), count,
                ",".join(map(str, sorted(set(threads)))), result, ", ".join(sorted(set(layouts))),
            )
        )
    if not found:
        print("none")
    return bool(found)


parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
parser.add_argument("--heights", type=int, nargs="+", default=[1, 2, 3, 5, 8, 10, 40])
parser.add_argument("--widths", type=int, nargs="+", default=[*range(1, 9), 10, 16, 33])
parser.add_argument("--seconds", type=float, default=55)
parser.add_argument("--of", type=int, nargs=2, help=argparse.SUPPRESS)  # a kind, and the case to begin with
arguments = parser.parse_args()
end = time.monotonic() + arguments.seconds
all_cases, results = {}, []

if arguments.of:
    the_kind = KINDS[arguments.of[0]]
    work(the_kind, list(enumerate(cases(the_kind)))[arguments.of[1] :])

program = """import torch
print(torch.__version__, torch.backends.cpu.get_cpu_capability(), "AMX", torch.cpu._is_amx_tile_supported())"""
about = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
print(f"PyTorch {about.stdout.strip()}, ONEDNN_MAX_CPU_ISA {os.environ.get('ONEDNN_MAX_CPU_ISA', 'not set')}", flush=True)
runs = [threading.Thread(target=results_of, args=(kind,)) for kind in KINDS]
for run in runs:
    run.start()
for run in runs:
    run.join()
total = len(WORKS) * sum(map(len, all_cases.values()))
print(f"{len(results)} of {total} computations; kernel: its size, stride and padding; result: the output or a gradient")
sys.exit(1 if print_table() else 0)
