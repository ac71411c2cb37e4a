/**
 * The files of a saved model, relative to its folder: diffusers' layout of a `DDPMPipeline`, and one file of our own,
 * which diffusers does not look at.
 */
export const layout = {
  /** Names the parts; without it a folder is no model. */
  index: 'model_index.json',
  unetConfig: 'unet/config.json',
  weights: 'unet/diffusion_pytorch_model.safetensors',
  /** The weights as trained last, where they are kept beside the average: a variant, in diffusers' terms. */
  rawWeights: 'unet/diffusion_pytorch_model.raw.safetensors',
  schedulerConfig: 'scheduler/scheduler_config.json',
  /** What diffusers has no place for: see `nodeConfig.ts`. */
  nodeConfig: 'ddpm_node.json',
} as const;

/** How diffusers calls the weights of a network, before the variant and the extension. */
const WEIGHTS = 'diffusion_pytorch_model';

/** The forms of weight files, the preferred one first. */
const forms = ['safetensors', 'bin'] as const;

/** A file that weights are read from. */
export interface WeightsFile {
  /** In its folder. */
  readonly name: string;
  readonly form: (typeof forms)[number];
  /** Whether it is the index of weights in several files. */
  readonly isIndex: boolean;
}

/** The names under which diffusers looks for weights, in its order, and of a variant where one is asked for. */
export function weightsFiles(variant?: string): WeightsFile[] {
  const dotted = variant === undefined ? '' : `.${variant}`;
  return forms.flatMap((form) => {
    const indices = [`${WEIGHTS}.${form}.index${dotted}.json`];
    // Before 2024 the variant stood in another place.
    if (variant !== undefined) indices.push(`${WEIGHTS}.${form}${dotted}.index.json`);
    return [
      ...indices.map((name) => ({ name, form, isIndex: true })),
      { name: `${WEIGHTS}${dotted}.${form}`, form, isIndex: false },
    ];
  });
}

/** The variants that some files belong to, each once. */
export function variantsOf(names: readonly string[]): string[] {
  const [name, form] = [WEIGHTS, `(?:${forms.join('|')})`];
  const patterns = [
    `${name}\\.([^.]+?)(?:-\\d+-of-\\d+)?\\.${form}`,
    `${name}\\.${form}\\.index\\.([^.]+)\\.json`,
    `${name}\\.${form}\\.([^.]+)\\.index\\.json`,
  ].map((pattern) => new RegExp(`^${pattern}$`));
  return [...new Set(names.flatMap((file) => patterns.map((pattern) => pattern.exec(file)?.[1] ?? [])).flat())];
}

/** Whether a file of `unet/` holds weights, in any of the forms that diffusers looks for: whole, sharded, a variant, pickled. */
export function isWeightsFile(name: string): boolean {
  return /^diffusion_pytorch_model\b.*\.(safetensors|bin|index\.json|index\.[^.]+\.json)$/.test(name);
}
