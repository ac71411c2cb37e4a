/** Which machines can run the addon at all. */

const minimumNode = 20;

/** The floor of LibTorch's own Linux libraries. */
const minimumGlibc = [2, 28];

/** Where LibTorch is published. */
const published = ['linux-x64', 'linux-arm64', 'darwin-arm64', 'win32-x64'];

/**
 * Why this machine cannot run the addon, in one line with the remedy; undefined where it can.
 *
 * This runs before any other module is loaded, so it keeps to what an old Node understands.
 *
 * @param {object} [host] what to judge; the running process unless a test says otherwise
 * @param {string} [host.node] Node's version, `v20.1.0`
 * @param {string} [host.platform]
 * @param {string} [host.arch]
 * @param {() => { header: { glibcVersionRuntime?: string } }} [host.report] Node's diagnostic report
 * @param {boolean} [host.ownLibtorch] the user gives a LibTorch, so what is published does not matter
 * @returns {string | undefined}
 */
export function platformProblem(host = {}) {
  const node = host.node || process.version;
  const platform = host.platform || process.platform;
  const arch = host.arch || process.arch;

  if (Number(/^v(\d+)/.exec(node)?.[1]) < minimumNode) {
    return `Node ${minimumNode} or newer is needed, and this is ${node}; install a newer Node from https://nodejs.org and install ddpm-node again.`;
  }
  if (host.ownLibtorch) {
    return undefined;
  }
  if (!published.includes(`${platform}-${arch}`)) {
    return `there is no LibTorch for ${platform}-${arch} (there is for ${published.join(', ')}); build LibTorch yourself and name its folder in DDPM_LIBTORCH.`;
  }
  if (platform === 'linux') {
    const glibc = (host.report || runningReport)().header.glibcVersionRuntime;
    if (glibc === undefined) {
      return 'this system has no glibc (Alpine and others use musl), and there is no LibTorch for it; use a system with glibc, such as the image node:20-bookworm-slim.';
    }
    const [major, minor] = glibc.split('.').map(Number);
    if (major < minimumGlibc[0] || (major === minimumGlibc[0] && minor < minimumGlibc[1])) {
      return `LibTorch needs glibc ${minimumGlibc.join('.')} or newer, and this system has ${glibc}; use Debian 10, Ubuntu 20.04, RHEL 8 or anything newer.`;
    }
  }
  return undefined;
}

function runningReport() {
  // Without this, the report looks up the name of every open connection.
  Object.assign(process.report, { excludeNetwork: true });
  return /** @type {{ header: { glibcVersionRuntime?: string } }} */ (
    /** @type {unknown} */ (process.report.getReport())
  );
}
