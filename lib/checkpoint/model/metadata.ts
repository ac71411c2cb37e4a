/** What a weights file of ours says of itself in the safetensors metadata, beside `format`, which is the library's. */

/** The keys, which begin with the package's name: others may put theirs beside. */
export const metadataKeys = {
  /** 'ema' (the moving average) or 'raw' (the weights as trained last). */
  weights: 'ddpm_node.weights',
  /** Optimizer updates since the model's first. */
  step: 'ddpm_node.step',
} as const;

/** The metadata of a file; without a step where none is known. */
export function weightsMetadata(weights: 'ema' | 'raw', step?: number): Readonly<Record<string, string>> {
  // diffusers refuses a file that does not say that its tensors are PyTorch's.
  const metadata = { format: 'pt', [metadataKeys.weights]: weights };
  return step === undefined ? metadata : { ...metadata, [metadataKeys.step]: String(step) };
}
