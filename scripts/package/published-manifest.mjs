import { scope, targets } from '../prebuild/targets.mjs';

/** What only work on the package itself needs. */
const scriptsThatStay = ['install'];

/**
 * ddpm-node's manifest as it is published: with every platform package, of the very same version, as an optional
 * dependency. npm, pnpm and yarn install those of them that fit the machine.
 *
 * @param {Record<string, any>} manifest the repository's
 * @returns {Record<string, any>}
 */
export function publishedManifest({ scripts, devDependencies: _, optionalDependencies, ...manifest }) {
  return {
    ...manifest,
    scripts: Object.fromEntries(Object.entries(scripts).filter(([name]) => scriptsThatStay.includes(name))),
    optionalDependencies: {
      ...optionalDependencies,
      ...Object.fromEntries(targets.map(({ name }) => [`${scope}/${name}`, manifest.version])),
    },
  };
}
