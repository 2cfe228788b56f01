// Plays golden.npz of an exported folder, steps of the policy in its training environment, and compares what comes out.
// Exit code 0: the same; 1: not the same; 2: could not be played.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "npz.hpp"
#include "policy.hpp"

namespace {

constexpr int rounds = 5;  // all steps are played so often: more times to measure, and that a reset resets is seen

// What was recorded of an observation, for all steps.
struct Recorded {
    Tensor* input;
    std::vector<float> values;
};

// An output, what it was in training, and the worst difference so far.
struct Compared {
    const Tensor* output;
    std::string golden;
    double allowed;
    std::vector<float> expected = {};
    double worst = 0.0;
    std::size_t worst_step = 0, worst_item = 0;

    void compare(std::size_t step) {
        const std::size_t size = output->values.size();
        for (std::size_t i = 0; i < size; ++i) {
            double difference = std::abs(double{output->values[i]} - expected[step * size + i]);
            if (std::isnan(difference)) difference = std::numeric_limits<double>::infinity();
            if (difference > worst) worst = difference, worst_step = step, worst_item = i;
        }
    }
};

struct Golden {
    std::vector<float> depth;
    std::vector<std::int64_t> frame, reset;
    std::vector<Recorded> observations;
    std::vector<Compared> outputs;
};

// Reads an array whose rows are what the tensor holds.
std::vector<float> read(const Npz& file, const std::string& name, std::size_t rows, const Tensor& tensor) {
    auto values = file.floats(name);
    const std::size_t size = tensor.values.size();
    if (values.size() != rows * size) {
        throw Failure("golden.npz: '" + name + "' is " + shape_text(file.shape(name)) + ", but the model's '" +
                      tensor.name + "' takes " + std::to_string(rows) + " x " + std::to_string(size) + " numbers");
    }
    return values;
}

Golden read_golden(const Npz& file, Policy& policy) {
    Golden golden;
    golden.frame = file.integers("frame");
    golden.reset = file.integers("reset");
    const std::size_t steps = golden.frame.size();
    if (steps == 0 || golden.reset.size() != steps) {
        throw Failure("golden.npz: 'frame' and 'reset' must have one entry for each step");
    }

    const auto shape = file.shape("depth");
    const std::size_t frames = shape.empty() ? 0 : static_cast<std::size_t>(shape[0]);
    golden.depth = read(file, "depth", frames, policy.depth());
    for (const auto frame : golden.frame) {
        if (frame < 0 || static_cast<std::size_t>(frame) >= frames) {
            throw Failure("golden.npz: 'frame' has " + std::to_string(frame) + ", but 'depth' has " +
                          std::to_string(frames) + " frames");
        }
    }
    for (auto* input : policy.observations()) {
        golden.observations.push_back({input, read(file, input->name, steps, *input)});
    }
    golden.outputs = {{&policy.joint_targets(), "joint_targets", 1e-4}, {&policy.actions(), "next_actions", 1e-3}};
    if (policy.memory()) golden.outputs.push_back({policy.memory(), "h_out", 1e-3});
    for (auto& output : golden.outputs) output.expected = read(file, output.golden, steps, *output.output);
    return golden;
}

// Copies item number `index` of a recorded array into a tensor.
void put(const std::vector<float>& recorded, std::size_t index, Tensor& tensor) {
    const std::size_t size = tensor.values.size();
    std::copy_n(recorded.begin() + static_cast<std::ptrdiff_t>(index * size), size, tensor.values.begin());
}

// Milliseconds, by whether the step had a new frame.
struct Latencies {
    std::vector<double> held, fresh;
};

void play(Policy& policy, Golden& golden, Latencies& latencies) {
    for (std::size_t step = 0; step < golden.frame.size(); ++step) {
        const bool fresh = step == 0 || golden.frame[step] != golden.frame[step - 1];
        const auto start = std::chrono::steady_clock::now();
        if (golden.reset[step] || step == 0) policy.reset();
        if (fresh) {
            put(golden.depth, static_cast<std::size_t>(golden.frame[step]), policy.depth());
            policy.encode();
        }
        for (auto& observation : golden.observations) put(observation.values, step, *observation.input);
        policy.act();
        const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
        (fresh ? latencies.fresh : latencies.held).push_back(taken.count());
        for (auto& output : golden.outputs) output.compare(step);
    }
}

void print_latency(const char* what, std::vector<double> times) {
    if (times.empty()) return;
    std::sort(times.begin(), times.end());
    const auto last = static_cast<double>(times.size() - 1);
    const auto quantile = [&](double share) { return times[static_cast<std::size_t>(std::lround(share * last))]; };
    std::printf("%-26s %6zu %8.3f %8.3f %8.3f\n", what, times.size(), quantile(0.5), quantile(0.99), times.back());
}

int run(const std::filesystem::path& folder) {
    const Npz file(folder / "golden.npz");
    Policy policy(folder);
    auto golden = read_golden(file, policy);
    const auto steps = golden.frame.size();
    std::printf("ONNX Runtime %s, 1 thread; observations:", OrtGetApiBase()->GetVersionString());
    for (const auto* input : policy.observations()) std::printf(" %s (%zu)", input->name.c_str(), input->values.size());
    std::printf("; memory: %zu numbers\n", policy.memory() ? policy.memory()->values.size() : 0);

    Latencies latencies;
    latencies.held.reserve(rounds * steps);
    latencies.fresh.reserve(rounds * steps);
    for (int round = 0; round < rounds; ++round) play(policy, golden, latencies);

    bool same = true;
    std::printf("%zu steps, played %d times; worst differences:\n", steps, rounds);
    for (const auto& output : golden.outputs) {
        const bool within = output.worst <= output.allowed;
        same = same && within;
        std::printf("  %-14s %.2e at step %zu, ", output.golden.c_str(), output.worst, output.worst_step);
        if (output.golden == "h_out") {
            std::printf("number %zu", output.worst_item);
        } else {
            std::printf("%s", policy.joint_names()[output.worst_item].c_str());
        }
        std::printf(" (allowed: %.0e)%s\n", output.allowed, within ? "" : " DIFFERS");
    }
    std::printf("%-26s %6s %8s %8s %8s\n", "latency of a step, ms", "steps", "p50", "p99", "worst");
    print_latency("  with a new frame", latencies.fresh);
    print_latency("  with the frame before", latencies.held);
    latencies.fresh.insert(latencies.fresh.end(), latencies.held.begin(), latencies.held.end());
    print_latency("  all", latencies.fresh);
    std::printf(same ? "the same as in training\n" : "NOT the same as in training\n");
    return same ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: play_golden FOLDER    (an exported policy, with golden.npz)\n");
        return 2;
    }
    try {
        return run(arguments[1]);
    } catch (const std::exception& error) {
        std::string line = error.what();  // one line, whatever failed
        std::replace_if(line.begin(), line.end(), [](unsigned char letter) { return letter < ' '; }, ' ');
        std::fprintf(stderr, "error: %s\n", line.c_str());
        return 2;
    }
}
