/** What a weights file of ours says of itself in the safetensors metadata, beside `format`, which is the library's. */

/** The keys, which begin with the package's name: others may put theirs beside. */
export const metadataKeys = {
  /** 'ema' (the moving average) or 'raw' (the weights as trained last). */
  weights: 'ddpm_node.weights',
  /** Optimizer updates since the model's first. */
  step: 'ddpm_node.step',
  /** Updates that the moving average has taken in: those before its weights were loaded, too. */
  averaged: 'ddpm_node.averaged',
} as const;

/** What a file may say of the training that its weights come from. */
export interface TrainingCounts {
  step?: number;
  averaged?: number;
}

/** The metadata of a file; without the counts that are not known. */
export function weightsMetadata(weights: 'ema' | 'raw', counts: TrainingCounts = {}): Readonly<Record<string, string>> {
  // diffusers refuses a file that does not say that its tensors are PyTorch's.
  const metadata: Record<string, string> = { format: 'pt', [metadataKeys.weights]: weights };
  for (const name of ['step', 'averaged'] as const) {
    if (counts[name] !== undefined) metadata[metadataKeys[name]] = String(counts[name]);
  }
  return metadata;
}

/** How many updates the average of a file has taken in; where the file does not say, its step is the nearest. */
export function averagedOf(metadata: ReadonlyMap<string, string>): number {
  const count = Number(metadata.get(metadataKeys.averaged) ?? metadata.get(metadataKeys.step));
  return Number.isSafeInteger(count) && count >= 0 ? count : 0;
}
