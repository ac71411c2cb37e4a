#include "binding/model.h"

#include <utility>

#include "binding/operation.h"
#include "binding/options.h"
#include "binding/pixel_store.h"
#include "binding/training_state.h"
#include "binding/unet_parameters.h"
#include "binding/weights.h"

namespace ddpm {
namespace {

Napi::Object options_of(const Napi::CallbackInfo& info) { return info[0].As<Napi::Object>(); }

Napi::Object progress_to_js(Napi::Env env, const TrainProgress& progress) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("step", static_cast<double>(progress.step));
  object.Set("totalSteps", static_cast<double>(progress.total_steps));
  object.Set("loss", progress.loss);
  object.Set("learningRate", progress.learning_rate);
  object.Set("gradientNorm", progress.gradient_norm);
  object.Set("imagesPerSecond", progress.images_per_second);
  object.Set("etaSeconds", progress.eta_seconds);
  object.Set("skippedSteps", static_cast<double>(progress.skipped_steps));
  return object;
}

struct StateOrFailure {
  std::shared_ptr<TrainingState> state;
  Failure failure;  // where there is no state
};

Napi::Value checkpoint_to_js(Napi::Env env, StateOrFailure&& checkpoint) {
  if (!checkpoint.state) return to_js(env, checkpoint.failure).Value();
  return TrainingStateObject::wrap(env, std::move(checkpoint.state));
}

SamplerConfig sampler_config(const Napi::Object& options) {
  SamplerConfig config;
  config.type = sampler_type(options.Env(), text(options, "sampler"));
  config.steps = integer(options, "steps");
  config.spacing = timestep_spacing(options.Env(), text(options, "timestepSpacing"));
  config.eta = number(options, "eta");
  return config;
}

}  // namespace

// A method whose C++ exceptions become JS ones with their code.
template <Napi::Value (Model::*method)(const Napi::CallbackInfo&)>
Napi::Value Model::guard(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return (this->*method)(info); });
}

Napi::Function Model::define(Napi::Env env) {
  return DefineClass(env, "Model",
                     {
                         InstanceAccessor<&Model::device>("device"),
                         InstanceAccessor<&Model::step>("step"),
                         InstanceMethod<&Model::guard<&Model::parameters>>("parameters"),
                         InstanceMethod<&Model::guard<&Model::train>>("train"),
                         InstanceMethod<&Model::guard<&Model::train_step>>("trainStep"),
                         InstanceMethod<&Model::guard<&Model::predict>>("predict"),
                         InstanceMethod<&Model::guard<&Model::sample>>("sample"),
                         InstanceMethod<&Model::guard<&Model::export_weights>>("exportWeights"),
                         InstanceMethod<&Model::guard<&Model::create_weights>>("createWeights"),
                         InstanceMethod<&Model::guard<&Model::import_weights>>("importWeights"),
                         InstanceMethod<&Model::guard<&Model::time_convolutions>>("timeConvolutions"),
                         InstanceMethod<&Model::guard<&Model::export_state>>("exportState"),
                         InstanceMethod<&Model::guard<&Model::create_state>>("createState"),
                         InstanceMethod<&Model::guard<&Model::import_state>>("importState"),
                         InstanceMethod<&Model::guard<&Model::dispose>>("dispose"),
                     });
}

Model::Model(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    config_ = engine_config(options_of(info));
    engine_ = std::make_shared<Engine>(config_);
  });
  AddonData& data = AddonData::of(info.Env());
  data.watch(engine_);
  js_thread_ = data.js_thread();
  report_memory(info.Env(), engine_->layout()->flat_size() * int64_t{sizeof(float)});
}

// The object was collected. Its engine may still be busy with its beginning, and the JS thread must not wait for that:
// the engine is kept until it has ended, and let go of on the JS thread, since its own cannot join itself.
void Model::Finalize(Napi::BasicEnv env) {
  report_memory(env, 0);
  Engine& engine = *engine_;
  engine.close([engine = std::move(engine_), js_thread = js_thread_]() mutable {
    js_thread->post([engine = std::move(engine)](Napi::Env) {});
  });
}

// Tells the garbage collector, which would see a small object, of the weights that go with it. What training adds is
// left out: the collector would take the jump for a reason to stop and collect.
void Model::report_memory(Napi::BasicEnv env, int64_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes - std::exchange(reported_bytes_, bytes));
}

Napi::Value Model::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), config_.device.str());
}

Napi::Value Model::step(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(engine_->step()));
}

Napi::Value Model::parameters(const Napi::CallbackInfo& info) { return parameter_list(info.Env(), *engine_->layout()); }

at::Tensor Model::images(const Napi::Value& value) const {
  const auto& unet = config_.training.unet;
  return image_tensor(value, unet.in_channels, unet.height, unet.width);
}

Napi::Value Model::train(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = options_of(info);
  auto request = std::make_shared<TrainRequest>();
  TrainOptions& wanted = request->options;
  wanted.images = pixel_store_from(options.Get("dataset"));
  wanted.labels = int_array(options, "labels");
  wanted.steps = integer(options, "steps");
  wanted.batch_size = integer(options, "batchSize");
  wanted.gradient_accumulation = integer(options, "gradientAccumulation");
  wanted.recompute = boolean(options, "gradientCheckpointing");
  wanted.horizontal_flip = boolean(options, "horizontalFlip");
  wanted.progress_every = integer(options, "progressEvery");
  wanted.most_non_finite = integer(options, "maxNonFinite");
  wanted.checkpoint_every = integer(options, "checkpointEvery");

  const Operation operation(env, info.This().As<Napi::Object>());
  request->cancelled = operation.cancelled();
  request->progress = operation.callback<TrainProgress>(options.Get("onProgress"), progress_to_js);
  const auto checkpoint = operation.callback<StateOrFailure>(options.Get("onCheckpoint"), checkpoint_to_js);
  request->checkpoint = [checkpoint](std::shared_ptr<TrainingState> state, const std::exception_ptr& failure) {
    if (checkpoint) checkpoint({std::move(state), failure ? describe(failure) : Failure{}});
  };
  request->completion = operation.completion<TrainResult>([](Napi::Env js, TrainResult&& result) {
    Napi::Object object = Napi::Object::New(js);
    object.Set("step", static_cast<double>(result.step));
    object.Set("loss", result.loss);
    object.Set("skippedSteps", static_cast<double>(result.skipped_steps));
    object.Set("seconds", result.seconds);
    return object;
  });
  engine_->train(std::move(request));
  return operation.handle(env);
}

Napi::Value Model::train_step(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = options_of(info);
  Batch batch;
  batch.x_0 = images(options.Get("x0"));
  batch.eps = images(options.Get("noise"));
  batch.t = int_array(options, "t");
  const auto labels = int_array(options, "labels");
  if (!labels.empty()) batch.labels = at::tensor(labels, at::kLong);

  const auto accumulation = integer(options, "gradientAccumulation");

  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->train_step(std::move(batch), accumulation, operation.cancelled(),
                      operation.completion<StepResult>([](Napi::Env js, StepResult&& result) {
                        Napi::Object object = Napi::Object::New(js);
                        object.Set("loss", result.loss);
                        object.Set("gradientNorm", result.gradient_norm);
                        object.Set("learningRate", result.learning_rate);
                        return object;
                      }));
  return operation.handle(env);
}

Napi::Value Model::predict(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = options_of(info);
  at::Tensor x = images(options.Get("x"));
  auto t = int_array(options, "t"), labels = int_array(options, "labels");
  const bool use_ema = weight_set(env, text(options, "weights")) == WeightSet::kEma;

  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->predict(std::move(x), std::move(t), std::move(labels), use_ema, operation.cancelled(),
                   operation.completion<at::Tensor>([](Napi::Env js, at::Tensor&& output) {
                     return float_array(js, output.const_data_ptr<float>(), static_cast<size_t>(output.numel()));
                   }));
  return operation.handle(env);
}

Napi::Value Model::sample(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = options_of(info);
  auto request = std::make_shared<SampleRequest>();
  SampleOptions& wanted = request->options;
  wanted.count = integer(options, "count");
  wanted.sampler = sampler_config(options);
  wanted.seed = static_cast<uint64_t>(integer(options, "seed"));
  wanted.batch_size = integer(options, "batchSize");
  wanted.use_ema = weight_set(env, text(options, "weights")) == WeightSet::kEma;
  if (!options.Get("noise").IsUndefined()) wanted.x_T = images(options.Get("noise"));
  wanted.labels = int_array(options, "labels");
  wanted.as_levels = text(options, "output") == "uint8";

  const Operation operation(env, info.This().As<Napi::Object>());
  request->cancelled = operation.cancelled();
  using Steps = std::pair<int64_t, int64_t>;
  if (const auto progress = operation.callback<Steps>(options.Get("onProgress"), [](Napi::Env js, const Steps& steps) {
        Napi::Object object = Napi::Object::New(js);
        object.Set("step", static_cast<double>(steps.first));
        object.Set("totalSteps", static_cast<double>(steps.second));
        return object;
      })) {
    request->progress = [progress](int64_t step, int64_t total) { progress({step, total}); };
  }
  const auto completion = operation.completion<SampleResult>([](Napi::Env js, SampleResult&& result) {
    Napi::Object object = Napi::Object::New(js);
    if (!result.levels.empty()) {
      object.Set("data", byte_array(js, result.levels));
    } else {
      object.Set("data", float_array(js, result.values.data(), result.values.size()));
    }
    return object;
  });
  request->done = completion.done;
  request->failed = completion.failed;
  engine_->sample(std::move(request));
  return operation.handle(env);
}

Napi::Value Model::export_weights(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<WeightSet> sets;
  const auto names = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    sets.push_back(weight_set(env, names.Get(i).ToString().Utf8Value()));
  }
  const Operation operation(env, info.This().As<Napi::Object>());
  const auto completion = operation.completion<ExportedWeights>([](Napi::Env js, ExportedWeights&& copies) {
    Napi::Array weights = Napi::Array::New(js);
    for (auto& set : copies.sets) weights.Set(weights.Length(), Weights::wrap(js, std::move(set)));
    Napi::Object object = Napi::Object::New(js);
    object.Set("step", static_cast<double>(copies.step));
    object.Set("averaged", static_cast<double>(copies.averaged));
    object.Set("weights", weights);
    return object;
  });
  engine_->export_weights(std::move(sets), operation.cancelled(), completion);
  return operation.handle(env);
}

Napi::Value Model::create_weights(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->create_weights(operation.cancelled(), operation.completion<ParameterSet>(Weights::wrap));
  return operation.handle(env);
}

Napi::Value Model::import_weights(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const ParameterSet set = Weights::from(info[0]);
  bool raw = false, ema = false;
  const auto sets = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < sets.Length(); ++i) {
    const auto name = sets.Get(i).ToString().Utf8Value();
    raw = raw || name == "raw";
    ema = ema || name == "ema";
  }
  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->import_weights(set, raw, ema, info[2].ToNumber().Int64Value(), operation.cancelled(),
                          operation.completion<bool>([](Napi::Env js, bool&&) { return js.Undefined(); }));
  return operation.handle(env);
}

Napi::Value Model::time_convolutions(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = options_of(info);
  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->time_convolutions(integer(options, "images"), integer(options, "repeats"), operation.cancelled(),
                             operation.completion<std::vector<double>>(double_array));
  return operation.handle(env);
}

Napi::Value Model::export_state(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->export_state(operation.cancelled(),
                        operation.completion<std::shared_ptr<TrainingState>>(TrainingStateObject::wrap));
  return operation.handle(env);
}

Napi::Value Model::create_state(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->create_state(operation.cancelled(),
                        operation.completion<std::shared_ptr<TrainingState>>(TrainingStateObject::wrap));
  return operation.handle(env);
}

Napi::Value Model::import_state(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto state = TrainingStateObject::from(info[0]);
  state->counters = training_counters(info[1].As<Napi::Object>());
  const Operation operation(env, info.This().As<Napi::Object>());
  engine_->import_state(std::move(state), operation.cancelled(),
                        operation.completion<bool>([](Napi::Env js, bool&&) { return js.Undefined(); }));
  return operation.handle(env);
}

Napi::Value Model::dispose(const Napi::CallbackInfo& info) {
  report_memory(info.Env(), 0);
  const Operation operation(info.Env(), info.This().As<Napi::Object>());
  const auto completion = operation.completion<bool>([this](Napi::Env js, bool&&) {
    engine_->join();  // the thread has told of its end: nothing is left to wait for but that
    return js.Undefined();
  });
  engine_->close([completion] { completion.done(true); });
  return operation.promise();
}

}  // namespace ddpm
