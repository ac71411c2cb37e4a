#pragma once

namespace ddpm {

// Keeps this library, and with it LibTorch, loaded until the process ends. Node unloads an addon when the last worker
// that uses it ends; threads of OpenMP and handlers of exit() would be left with code that is no longer there.
void pin_library();

}  // namespace ddpm
