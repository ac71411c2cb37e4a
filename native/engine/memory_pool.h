#pragma once

namespace ddpm {

// Large blocks of memory that tensors on the CPU give back are kept for the next ones of their size: a step of sampling
// or training asks for the same ones as the step before, and the system would have to clear each page of them anew.

// Has LibTorch take its memory by way of the pool, from now on and for the whole process.
void use_memory_pool();

// Whether blocks come filled with NaN, as they do with DDPM_POISON=1: whatever reads memory that it has not written
// then shows it. Found by a look at one.
bool memory_is_poisoned();

// Gives the blocks that nobody uses back to the system: to be called when work pauses.
void empty_memory_pool();

}  // namespace ddpm
