/** What of each package is unpacked, and where to. */

/** What compiling and running need: headers, libraries and CMake's description; and the terms that they come under. */
const wanted = /^((include|lib|share)\/|LICENSE|NOTICE)/;

/** Libraries for Python and for PyTorch's own tests. */
const unwanted =
  /^lib\/(lib)?(torch_python|torchbind_test|jitbackend_test|backend_with_compiler|aoti_custom_ops|shm|shm_windows)\b/;

/** @param {string} name relative to LibTorch's folder */
function isNeeded(name) {
  return wanted.test(name) && !unwanted.test(name);
}

/**
 * Of torch's wheel: LibTorch, the description that names what else is needed, and the licences.
 *
 * @param {string} name
 */
export function placeTorch(name) {
  const about = /^torch-[^/]+\.dist-info\/(METADATA|licenses\/.+)$/s.exec(name)?.[1];
  if (about !== undefined) return `torch.dist-info/${about}`;
  return name.startsWith('torch/') && isNeeded(name.slice('torch/'.length)) ? name : undefined;
}

/**
 * Of NVIDIA's wheels: libraries and headers, where torch's libraries look for them, and the licences.
 *
 * @param {string} name
 */
export function placeNvidia(name) {
  const [, wheel, licence] = /^(nvidia_\w+)-[^/]+\.dist-info\/(?:licenses\/)?(licen[cs]e[^/]*)$/i.exec(name) ?? [];
  if (licence !== undefined) return `nvidia.dist-info/${wheel}/${licence}`;
  return /^nvidia\/[^/]+\/((include|lib)\/|licen[cs]e)/i.test(name) ? name : undefined;
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
