/**
 * diffusers' schedulers. The class in a file is a choice of sampler, which is `sample()`'s here; what counts is the process
 * that the network was trained with, and all classes of this list write it in the same settings.
 */

/** What a class takes where its file leaves a setting out; as `DDPMScheduler` where it says nothing. */
interface SchedulerDefaults {
  betaStart?: number;
  betaEnd?: number;
  betaSchedule?: 'scaled_linear' | 'squaredcos_cap_v2';
  clipSample?: false;
}

const kDiffusion: SchedulerDefaults = { betaStart: 0.00085, betaEnd: 0.012 };
const latentConsistency: SchedulerDefaults = { ...kDiffusion, betaSchedule: 'scaled_linear', clipSample: false };

const classes: ReadonlyMap<string, SchedulerDefaults> = new Map(
  Object.entries({
    DDPMScheduler: {},
    DDPMParallelScheduler: {},
    DDIMScheduler: {},
    DDIMInverseScheduler: {},
    DDIMParallelScheduler: {},
    DEISMultistepScheduler: {},
    DPMSolverMultistepScheduler: {},
    DPMSolverMultistepInverseScheduler: {},
    DPMSolverSDEScheduler: kDiffusion,
    DPMSolverSinglestepScheduler: {},
    EulerAncestralDiscreteScheduler: {},
    EulerDiscreteScheduler: {},
    HeunDiscreteScheduler: { ...kDiffusion, clipSample: false },
    KDPM2AncestralDiscreteScheduler: kDiffusion,
    KDPM2DiscreteScheduler: kDiffusion,
    LCMScheduler: latentConsistency,
    LMSDiscreteScheduler: {},
    PNDMScheduler: {},
    RePaintScheduler: {},
    SASolverScheduler: {},
    TCDScheduler: latentConsistency,
    UnCLIPScheduler: { betaSchedule: 'squaredcos_cap_v2' },
    UniPCMultistepScheduler: {},
  } satisfies Record<string, SchedulerDefaults>),
);

/**
 * The defaults of a class by its name, also with the prefix that those for Flax had; undefined for one whose process has
 * no betas (flow matching, EDM, score matching) or that is not known.
 */
export function schedulerDefaults(name: unknown): SchedulerDefaults | undefined {
  return typeof name === 'string' ? classes.get(name.replace(/^Flax/, '')) : undefined;
}

/**
 * Settings that say how a sampler takes its steps, and nothing of the process. They turn up with any class: diffusers
 * keeps those of the class that a scheduler was made from.
 */
export const samplerSettings: readonly string[] = [
  'algorithm_type',
  'corrector_order',
  'disable_corrector',
  'dynamic_thresholding_ratio',
  'eta',
  'euler_at_final',
  'final_sigmas_type',
  'flow_shift',
  'interpolation_type',
  'lambda_min_clipped',
  'lower_order_final',
  'noise_sampler_seed',
  'original_inference_steps',
  'predict_x0',
  'predictor_order',
  'sample_max_value',
  'set_alpha_to_one',
  'shift_terminal',
  'sigma_max',
  'sigma_min',
  'skip_prk_steps',
  'solver_order',
  'solver_p',
  'solver_type',
  'tau_func',
  'time_shift_type',
  'timestep_scaling',
  'use_beta_sigmas',
  'use_dynamic_shifting',
  'use_exponential_sigmas',
  'use_karras_sigmas',
  'use_lu_lambdas',
];
