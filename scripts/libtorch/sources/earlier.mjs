import { readCached } from '../cache.mjs';

/**
 * A LibTorch that this package set up before.
 *
 * @type {import('../locate.mjs').Source}
 */
export const earlier = {
  name: 'set up before',

  async find(context) {
    return readCached(context.folder, context);
  },
};
