/**
 * The files of a saved model, relative to its folder: diffusers' layout of a `DDPMPipeline`, and one file of our own,
 * which diffusers does not look at.
 */
export const layout = {
  /** Names the parts; without it a folder is no model. */
  index: 'model_index.json',
  unetConfig: 'unet/config.json',
  weights: 'unet/diffusion_pytorch_model.safetensors',
  schedulerConfig: 'scheduler/scheduler_config.json',
  /** What diffusers has no place for: see `nodeConfig.ts`. */
  nodeConfig: 'ddpm_node.json',
} as const;

/** Whether a file of `unet/` holds weights, in any of the forms that diffusers looks for: whole, sharded, a variant, pickled. */
export function isWeightsFile(name: string): boolean {
  return /^diffusion_pytorch_model\b.*\.(safetensors|bin|index\.json)$/.test(name);
}
