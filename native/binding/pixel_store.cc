#include "binding/pixel_store.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "binding/errors.h"

namespace ddpm {

namespace {

// Marks this class's objects, so that a foreign object is refused before it is unwrapped as one.
constexpr napi_type_tag kTypeTag = {0x5d1f6c2a90b84e37, 0xa4e27b913c6d8f05};

constexpr double kLargestInteger = 9007199254740991.0;  // 2^53 − 1

uint64_t whole_number(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1.0;
  if (!(number >= 0.0 && number <= kLargestInteger) || number != std::floor(number)) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected a whole number of at least 0");
  }
  return static_cast<uint64_t>(number);
}

uint64_t whole_number(const Napi::Object& object, const char* property) {
  return whole_number(object.Get(property), property);
}

PixelStore::Shape shape_from(const Napi::Value& value) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "shape: expected an object");
  const auto object = value.As<Napi::Object>();
  return {.height = static_cast<size_t>(whole_number(object, "height")),
          .width = static_cast<size_t>(whole_number(object, "width")),
          .channels = static_cast<size_t>(whole_number(object, "channels"))};
}

// The levels in a Uint8Array, read in place.
std::span<const uint8_t> pixels_from(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(value.Env(), "pixels: expected a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

class PixelStoreObject : public Napi::ObjectWrap<PixelStoreObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "PixelStore",
        {InstanceAccessor<&PixelStoreObject::count>("count"), InstanceAccessor<&PixelStoreObject::height>("height"),
         InstanceAccessor<&PixelStoreObject::width>("width"), InstanceAccessor<&PixelStoreObject::channels>("channels"),
         InstanceMethod<&PixelStoreObject::append>("append"), InstanceMethod<&PixelStoreObject::read>("read"),
         StaticMethod<&PixelStoreObject::map>("map")});
  }

  explicit PixelStoreObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PixelStoreObject>(info) {
    const PixelStore::Shape shape = shape_from(info[0]);
    store_ = guarded(info.Env(), [&] { return std::make_shared<PixelStore>(shape); });
    info.This().As<Napi::Object>().TypeTag(&kTypeTag);
  }

  void Finalize(Napi::BasicEnv env) override { Napi::MemoryManagement::AdjustExternalMemory(env, -reported_bytes_); }

  // The native object behind a JS value; nullptr for any other value.
  static PixelStoreObject* from(const Napi::Value& value) {
    if (!value.IsObject()) return nullptr;
    const auto object = value.As<Napi::Object>();
    return object.CheckTypeTag(&kTypeTag) ? Unwrap(object) : nullptr;
  }

  const std::shared_ptr<PixelStore>& store() const { return store_; }

 private:
  static Napi::Value map(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsString()) throw Napi::TypeError::New(env, "path: expected a string");
    const std::string path = info[0].As<Napi::String>();
    const PixelStore::Shape shape = shape_from(info[1]);
    const auto options = info[1].As<Napi::Object>();
    const auto count = static_cast<size_t>(whole_number(options, "count"));
    const uint64_t byte_offset = whole_number(options, "byteOffset");

    // The class is the receiver of its static method, so that no reference to it has to be kept.
    const Napi::Value receiver = info.This();
    if (!receiver.IsFunction()) throw Napi::TypeError::New(env, "PixelStore.map must be called on PixelStore");
    const Napi::Object made = receiver.As<Napi::Function>().New({options});
    PixelStoreObject* object = from(made);
    if (object == nullptr) throw Napi::TypeError::New(env, "PixelStore.map must be called on PixelStore");
    object->store_ = guarded(env, [&] { return PixelStore::map(path, shape, count, byte_offset); });
    return made;
  }

  Napi::Value count(const Napi::CallbackInfo& info) { return to_number(info, store_->count()); }
  Napi::Value height(const Napi::CallbackInfo& info) { return to_number(info, store_->height()); }
  Napi::Value width(const Napi::CallbackInfo& info) { return to_number(info, store_->width()); }
  Napi::Value channels(const Napi::CallbackInfo& info) { return to_number(info, store_->channels()); }

  static Napi::Value to_number(const Napi::CallbackInfo& info, size_t value) {
    return Napi::Number::New(info.Env(), static_cast<double>(value));
  }

  void append(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::span<const uint8_t> pixels = pixels_from(info[0]);
    const size_t image_bytes = store_->image_bytes();
    if (pixels.size() % image_bytes != 0) {
      throw Napi::RangeError::New(env, "pixels: expected whole images of " + std::to_string(image_bytes) +
                                           " bytes, got " + std::to_string(pixels.size()) + " bytes");
    }
    guarded(env, [&] { store_->append(pixels.data(), pixels.size() / image_bytes); });
    const auto held_bytes = static_cast<int64_t>(store_->memory_bytes());
    Napi::MemoryManagement::AdjustExternalMemory(env, held_bytes - reported_bytes_);
    reported_bytes_ = held_bytes;
  }

  Napi::Value read(const Napi::CallbackInfo& info) {
    const uint64_t index = whole_number(info[0], "index");
    const uint64_t count = whole_number(info[1], "count");
    const size_t held = store_->count();
    if (index > held || count > held - index) {
      throw Napi::RangeError::New(info.Env(), "expected images within the " + std::to_string(held) + " of the store");
    }
    const size_t image_bytes = store_->image_bytes();
    Napi::Uint8Array pixels = Napi::Uint8Array::New(info.Env(), count * image_bytes);
    for (size_t i = 0; i < count; ++i) {
      std::copy_n(store_->image(index + i), image_bytes, pixels.Data() + i * image_bytes);
    }
    return pixels;
  }

  std::shared_ptr<PixelStore> store_;
  int64_t reported_bytes_ = 0;  // what the garbage collector knows of
};

}  // namespace

Napi::Function define_pixel_store(Napi::Env env) { return PixelStoreObject::define(env); }

std::shared_ptr<const PixelStore> pixel_store_from(const Napi::Value& value) {
  const PixelStoreObject* object = PixelStoreObject::from(value);
  if (object == nullptr) throw Napi::TypeError::New(value.Env(), "dataset: expected a PixelStore");
  return object->store();
}

}  // namespace ddpm
