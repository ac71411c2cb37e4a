// An addon of its own, which needs nothing but Node: the environment that native libraries see. LibTorch's read theirs
// while they are loaded, before any code of the addon that needs them, and a worker's process.env is a copy that they
// never see. It is set only around that load: what another thread reads of the environment at that moment is not locked
// out.
#include <napi.h>

#include <cstdlib>
#include <string>

#if defined(_WIN32)
#include <windows.h>

#include <vector>
#endif

namespace {

#if defined(_WIN32)

std::wstring wide(const Napi::Value& value) {
  const std::u16string text = value.As<Napi::String>().Utf16Value();
  return {text.begin(), text.end()};
}

Napi::Value get(const Napi::CallbackInfo& info) {
  const std::wstring name = wide(info[0]);
  std::vector<wchar_t> value(GetEnvironmentVariableW(name.c_str(), nullptr, 0));
  if (value.empty()) return info.Env().Undefined();
  const DWORD length = GetEnvironmentVariableW(name.c_str(), value.data(), static_cast<DWORD>(value.size()));
  return Napi::String::New(info.Env(), std::u16string(value.begin(), value.begin() + length));
}

void set(const Napi::CallbackInfo& info) {
  SetEnvironmentVariableW(wide(info[0]).c_str(), info[1].IsUndefined() ? nullptr : wide(info[1]).c_str());
}

#else

Napi::Value get(const Napi::CallbackInfo& info) {
  const char* value = std::getenv(info[0].As<Napi::String>().Utf8Value().c_str());
  if (value == nullptr) return info.Env().Undefined();
  return Napi::String::New(info.Env(), value);
}

void set(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>();
  if (info[1].IsUndefined()) {
    unsetenv(name.c_str());
  } else {
    setenv(name.c_str(), info[1].As<Napi::String>().Utf8Value().c_str(), /*overwrite=*/1);
  }
}

#endif

// get(name): the value, or undefined. set(name, value): undefined takes the variable away.
Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("get", Napi::Function::New(env, get));
  exports.Set("set", Napi::Function::New(env, set));
  return exports;
}

}  // namespace

NODE_API_MODULE(ddpm_environment, init)
