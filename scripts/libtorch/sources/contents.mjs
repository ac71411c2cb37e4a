/** What of each package is unpacked, and where to. */

/** What compiling and running need: headers, libraries and CMake's description. */
const wanted = /^(include|lib|share)\//;

/** Libraries for Python and for PyTorch's own tests. */
const unwanted =
  /^lib\/(lib)?(torch_python|torchbind_test|jitbackend_test|backend_with_compiler|aoti_custom_ops|shm|shm_windows)\b/;

/** @param {string} name relative to LibTorch's folder */
function isNeeded(name) {
  return wanted.test(name) && !unwanted.test(name);
}

/**
 * Of torch's wheel: LibTorch, and the description that names what else is needed.
 *
 * @param {string} name
 */
export function placeTorch(name) {
  if (/^torch-[^/]+\.dist-info\/METADATA$/.test(name)) return 'torch.dist-info/METADATA';
  return name.startsWith('torch/') && isNeeded(name.slice('torch/'.length)) ? name : undefined;
}

/**
 * Of NVIDIA's wheels: libraries and headers, where torch's libraries look for them.
 *
 * @param {string} name
 */
export function placeNvidia(name) {
  return /^nvidia\/[^/]+\/(include|lib)\//.test(name) ? name : undefined;
}

/**
 * Of an archive that is either: a wheel, or the official archive, whose LibTorch gets the name that it has in a wheel.
 *
 * @param {string} name
 */
export function placeArchive(name) {
  const inner = /^libtorch\/(.*)$/s.exec(name)?.[1];
  if (inner === undefined) return placeTorch(name);
  return isNeeded(inner) ? `torch/${inner}` : undefined;
}
