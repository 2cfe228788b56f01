// An exported policy of legged_gym_ext: two networks, batch 1, one thread, nothing allocated per step.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <string>
#include <vector>

// An input or output of a network: numbers that we own and that ONNX Runtime reads or writes in place.
struct Tensor {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

// One .onnx file. Names and shapes are the model's own.
class Network {
public:
    Network(Ort::Env& environment, const std::filesystem::path& file);

    std::deque<Tensor> inputs, outputs;  // a deque: its elements stay where they are

    // Reads `inputs`, writes `outputs`.
    void run();
    // The input or output of this name; find returns nullptr where there is none, at throws a Failure.
    static Tensor* find(std::deque<Tensor>& tensors, const std::string& name);
    Tensor& at(std::deque<Tensor>& tensors, const std::string& name) const;
    // An entry of the model's metadata, a comma-separated list.
    std::vector<std::string> metadata(const std::string& key) const;
    const std::string& file() const { return file_; }

private:
    void bind(std::size_t i, bool is_input);

    std::string file_;
    Ort::Session session_;
    Ort::IoBinding binding_;
    Ort::RunOptions options_;
};

// The loop of a robot: reset() when an episode begins; for each camera frame, fill depth() and call encode();
// each control period, fill observations() and call act().
class Policy {
public:
    explicit Policy(const std::filesystem::path& folder);

    // Forgets the past: zeroes the memory. Previous actions, which are an observation, are the caller's to zero.
    void reset();
    // Depth image in metres, row-major from the top left: shape (1, rows, columns).
    Tensor& depth() { return *depth_; }
    void encode();
    // What the robot measures, raw, in the units that policy.yaml says: each of shape (1, size).
    const std::vector<Tensor*>& observations() const { return observations_; }
    void act();
    // Joint positions to track, rad, of shape (1, joints); in the order of joint_names().
    const Tensor& joint_targets() const { return *joint_targets_; }
    // The next step's observation `actions`, of shape (1, joints).
    const Tensor& actions() const { return *actions_; }
    // The memory after the step; nullptr where the policy has none.
    const Tensor* memory() const { return memory_out_; }
    const std::vector<std::string>& joint_names() const { return joint_names_; }

private:
    Ort::Env environment_;
    Network encoder_, actor_;
    std::vector<std::string> joint_names_;
    std::vector<Tensor*> observations_;
    Tensor *depth_, *features_out_, *features_in_, *joint_targets_, *actions_;
    Tensor *memory_in_, *memory_out_;  // nullptr where the policy has none
};
