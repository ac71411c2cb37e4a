/** Checkpoints: all that a training needs to go on. */
export { modelChanges, trainingChanges } from './changes';
export type { TrainingRecord } from './manifest';
export { PeriodicCheckpoints } from './periodic';
export { fromNewest, loadState } from './read';
export { writeCheckpoint } from './write';
