#include "policy.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "npz.hpp"

namespace {

// The library is told first: with an older one than the headers every other call of the C++ interface would crash.
Ort::Env make_environment() {
    if (OrtGetApiBase()->GetApi(ORT_API_VERSION) == nullptr) {
        throw Failure("the library of ONNX Runtime is " + std::string(OrtGetApiBase()->GetVersionString()) +
                      ", older than the headers that this was compiled with: 1." + std::to_string(ORT_API_VERSION));
    }
    // From 1.29 on the library tells its makers over the network which models it runs, from threads of its own.
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    return Ort::Env(ORT_LOGGING_LEVEL_FATAL);  // errors are thrown; no need to log them, too
}

Ort::Session load(Ort::Env& environment, const std::filesystem::path& file) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error)) throw Failure(file.string() + ": no such file");
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    options.SetInterOpNumThreads(1);
    return Ort::Session(environment, file.c_str(), options);
}

}  // namespace

Network::Network(Ort::Env& environment, const std::filesystem::path& file)
    : file_(file.string()), session_(load(environment, file)), binding_(session_) {
    for (std::size_t i = 0; i < session_.GetInputCount(); ++i) bind(i, true);
    for (std::size_t i = 0; i < session_.GetOutputCount(); ++i) bind(i, false);
}

void Network::bind(std::size_t i, bool is_input) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto name =
        is_input ? session_.GetInputNameAllocated(i, allocator) : session_.GetOutputNameAllocated(i, allocator);
    const auto type = is_input ? session_.GetInputTypeInfo(i) : session_.GetOutputTypeInfo(i);
    const auto what = file_ + ": " + (is_input ? "input '" : "output '") + name.get() + "'";
    if (type.GetONNXType() != ONNX_TYPE_TENSOR) throw Failure(what + " is not a tensor");
    const auto info = type.GetTensorTypeAndShapeInfo();
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) throw Failure(what + " is not of float32");

    Tensor tensor{name.get(), info.GetShape(), {}};
    std::size_t size = 1;
    for (const auto axis : tensor.shape) {
        if (axis <= 0) throw Failure(what + " has no fixed shape; export for a batch of 1");
        size *= static_cast<std::size_t>(axis);
    }
    tensor.values.assign(size, 0.0f);

    auto& [id, shape, values] = (is_input ? inputs : outputs).emplace_back(std::move(tensor));
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    const auto value = Ort::Value::CreateTensor<float>(memory, values.data(), size, shape.data(), shape.size());
    if (is_input) {
        binding_.BindInput(id.c_str(), value);
    } else {
        binding_.BindOutput(id.c_str(), value);
    }
}

void Network::run() { session_.Run(options_, binding_); }

Tensor* Network::find(std::deque<Tensor>& tensors, const std::string& name) {
    for (auto& tensor : tensors) {
        if (tensor.name == name) return &tensor;
    }
    return nullptr;
}

Tensor& Network::at(std::deque<Tensor>& tensors, const std::string& name) const {
    if (auto* tensor = find(tensors, name)) return *tensor;
    std::string names;
    for (const auto& tensor : tensors) names += (names.empty() ? "" : ", ") + tensor.name;
    throw Failure(file_ + ": nothing called '" + name + "' among: " + names);
}

std::vector<std::string> Network::metadata(const std::string& key) const {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(key.c_str(), allocator);
    if (!text) throw Failure(file_ + ": its metadata has no '" + key + "'; not a policy that legged_gym_ext exported?");
    std::istringstream stream(text.get());
    std::vector<std::string> items;
    for (std::string item; std::getline(stream, item, ',');) items.push_back(item);
    return items;
}

Policy::Policy(const std::filesystem::path& folder)
    : environment_(make_environment()),
      encoder_(environment_, folder / "depth_encoder.onnx"),
      actor_(environment_, folder / "student_actor.onnx"),
      joint_names_(actor_.metadata("joint_names")),
      depth_(&encoder_.at(encoder_.inputs, "depth")),
      features_out_(&encoder_.at(encoder_.outputs, "features")),
      features_in_(&actor_.at(actor_.inputs, "features")),
      joint_targets_(&actor_.at(actor_.outputs, "joint_targets")),
      actions_(&actor_.at(actor_.outputs, "next_actions")),
      memory_in_(Network::find(actor_.inputs, "h_in")),
      memory_out_(memory_in_ ? &actor_.at(actor_.outputs, "h_out") : nullptr) {
    for (auto& tensor : actor_.inputs) {
        if (&tensor != features_in_ && &tensor != memory_in_) observations_.push_back(&tensor);
    }
    const auto same = [this](const Tensor& one, const Tensor& other) {
        if (one.shape == other.shape) return;
        throw Failure(actor_.file() + ": '" + one.name + "' is " + shape_text(one.shape) + ", but '" + other.name +
                      "' is " + shape_text(other.shape));
    };
    same(*features_in_, *features_out_);
    if (memory_in_) same(*memory_in_, *memory_out_);
    same(*joint_targets_, *actions_);
    if (joint_names_.size() != joint_targets_->values.size()) {
        throw Failure(actor_.file() + ": " + std::to_string(joint_names_.size()) + " joint names for " +
                      std::to_string(joint_targets_->values.size()) + " joint targets");
    }
}

void Policy::reset() {
    if (memory_in_) std::fill(memory_in_->values.begin(), memory_in_->values.end(), 0.0f);
}

void Policy::encode() {
    encoder_.run();
    std::copy(features_out_->values.begin(), features_out_->values.end(), features_in_->values.begin());
}

void Policy::act() {
    actor_.run();
    if (memory_in_) std::copy(memory_out_->values.begin(), memory_out_->values.end(), memory_in_->values.begin());
}
