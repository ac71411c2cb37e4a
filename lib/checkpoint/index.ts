/** Models on disk: saved models (`model/`), the state of trainings (`state/`), and the files that both are made of (`formats/`). */
export { matchParameters } from './model/keys';
export { loadWeights, readModelFolder } from './model/load';
export { saveModelFolder } from './model/save';
export { modelChanges, trainingChanges } from './state/changes';
export type { TrainingRecord } from './state/manifest';
export { PeriodicCheckpoints } from './state/periodic';
export { checkState, fromNewest, loadState } from './state/read';
export { writeCheckpoint } from './state/write';
