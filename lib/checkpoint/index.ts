/** Models on disk. */
export { loadWeights, type ModelFolder, readModelFolder } from './load';
export { saveModelFolder } from './save';
