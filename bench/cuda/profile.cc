// Which kernels ran on the device, how often and how long: a library that the CUDA driver loads into any program where
// CUDA_INJECTION64_PATH names it. DDPM_PROFILE names the file that it writes when the process ends: a line of JSON for each
// name, of the second half of the time between the first kernel and the last, so that what is done once is left out.
//
//   g++ -O2 -shared -fPIC -I<CUDA's include> profile.cc -o profile.so -L<CUDA's lib> -l:libcupti.so.13
#include <cupti.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

#if CUPTI_API_VERSION >= 130000
using KernelRecord = CUpti_ActivityKernel10;
#else
using KernelRecord = CUpti_ActivityKernel9;
#endif

struct Span {
  const std::string* name;
  uint64_t start, end;
};

std::mutex mutex;
std::map<std::string, int> names;  // for addresses that stay
std::vector<Span> spans;

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* most_records) {
  *size = 8 << 20;
  *most_records = 0;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, *size));
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  const std::lock_guard lock(mutex);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const auto* kernel = reinterpret_cast<const KernelRecord*>(record);
      spans.push_back({&names.try_emplace(kernel->name).first->first, kernel->start, kernel->end});
    }
  }
  std::free(buffer);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

void write_down() {
  cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  const char* path = std::getenv("DDPM_PROFILE");
  const std::lock_guard lock(mutex);
  std::FILE* file = path != nullptr && !spans.empty() ? std::fopen(path, "w") : nullptr;
  if (file == nullptr) return;
  uint64_t first = UINT64_MAX, last = 0;
  for (const Span& span : spans) {
    first = std::min(first, span.start);
    last = std::max(last, span.end);
  }
  struct Total {
    uint64_t nanoseconds = 0, calls = 0;
  };
  std::map<const std::string*, Total> totals;
  for (const Span& span : spans) {
    if (span.start < first + (last - first) / 2) continue;
    Total& total = totals[span.name];
    total.nanoseconds += span.end - span.start;
    ++total.calls;
  }
  for (const auto& [name, total] : totals) {
    std::fprintf(file, "{\"name\": %s, \"seconds\": %.9f, \"calls\": %llu}\n", quoted(*name).c_str(),
                 static_cast<double>(total.nanoseconds) / 1e9, static_cast<unsigned long long>(total.calls));
  }
  std::fprintf(file, "{\"name\": \"\", \"seconds\": %.9f, \"calls\": 0}\n", static_cast<double>(last - first) / 2e9);
  std::fclose(file);
}

}  // namespace

// What the driver calls as it starts.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  if (cuptiActivityRegisterCallbacks(give_buffer, take_buffer) != CUPTI_SUCCESS) return 0;
  if (cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) != CUPTI_SUCCESS) return 0;
  cuptiActivityFlushPeriod(100);
  std::atexit(write_down);
  return 1;
}
