#!/usr/bin/env bash
# Proves and measures ddpm-node on this machine's CUDA card, without a network.
#
#   run.sh [--cpu] [--python PYTHON] [--out FOLDER] [--seconds N] [--only PART,PART] [--eager]
#
#   --cpu      the same without a card, on small sizes
#   --python   a Python with PyTorch 2.11 or newer (default: the first of $PYTHON, python3 and python that has one)
#   --out      where results.json and the logs go (default: cuda-kit-results in the current folder)
#   --seconds  when to end at the latest (default: 480)
#   --only     these parts alone, and what they need
#   --eager    without torch.compile, which takes minutes
#
# Needs Linux on x64, a C++20 compiler, CMake, make or Ninja and, for a card, nvcc. DDPM_ADDON names a built addon to
# take instead of building one.
set -euo pipefail
export PATH
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

given=()
asked=
while (($# > 0)); do
  case $1 in
    --python)
      asked=${2:?--python: expected the path of a Python}
      given+=("$1" "$2")
      shift 2
      ;;
    *)
      given+=("$1")
      shift
      ;;
  esac
done

# The first Python that runs unpacks; one with PyTorch is found by the kit itself.
python=
for candidate in "$asked" "${PYTHON:-}" python3 python; do
  if [[ -n $candidate ]] && "$candidate" -c 'import lzma, tarfile' > /dev/null 2>&1; then
    python=$candidate
    break
  fi
done
if [[ -z $python ]]; then
  echo 'run.sh: no Python that runs was found; name one with --python' >&2
  exit 2
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/ddpm-cuda-kit.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$python" - "$kit/kit.tar" "$work" << 'PY'
import lzma, os, shutil, sys, tarfile

archive, work = sys.argv[1:]
with tarfile.open(archive) as kit:
    with lzma.open(kit.extractfile("node.xz")) as packed, open(os.path.join(work, "node"), "wb") as node:
        shutil.copyfileobj(packed, node)
    with lzma.open(kit.extractfile("package.tar.xz")) as packed, tarfile.open(fileobj=packed, mode="r|") as files:
        files.extractall(os.path.join(work, "package"))
os.chmod(os.path.join(work, "node"), 0o755)
PY

"$work/node" "$work/package/scripts/cuda-kit/main.mjs" ${given[@]+"${given[@]}"}
