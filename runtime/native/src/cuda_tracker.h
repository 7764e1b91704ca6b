// The tracker on an NVIDIA GPU: it replays the launches that were recorded when the model was exported.
#pragma once

#include <string>
#include <vector>

#include "array.h"
#include "cuda_driver.h"
#include "layout.h"
#include "cuda_plan.h"
#include "patches.h"
#include "tracker.h"

namespace spc {

class CudaTracker : public Tracker {
public:
    // gpu is its number; stream is the caller's, on which frames in device memory are written.
    CudaTracker(const Model& model, int gpu, void* stream);
    ~CudaTracker() override;

    void begin(const spcnet_frame& frame, const State& state, std::size_t index) override;
    void remove(std::size_t index) override { targets_.erase(targets_.begin() + index); }
    void search(const spcnet_frame& frame, bool learns, spcnet_result* results) override;
    void learn(const spcnet_frame& frame) override;
    bool searched(std::size_t index) const override { return targets_[index].position >= 0; }
    void response(std::size_t index, int scale, float* numbers) override;
    void configured() override;
    void set_network(spcnet_network network, void* user) override;

private:
    // A target as the host knows it. Its state and models are in a slot on the device.
    struct Target {
        int slot;
        State seen;
        double search_x, search_y; // where it is searched next
        spcnet_status status;
        long long age; // frames since it was added
        int position; // in the list, of its latest search; -1: none yet
    };
    // Columns left ... right - 1 and rows top ... bottom - 1 of a frame.
    struct Region {
        int left, top, right, bottom;
    };
    // What was launched once is a graph from the second time on.
    struct Graph {
        Work work;
        std::size_t targets, due; // that it is for
        void* executable; // NULL: not recorded
    };
    class Current;

    void open(const Model& model, int gpu);
    void close();
    Address allocate(std::size_t bytes);
    void* allocate_host(std::size_t bytes);
    void free(const std::vector<Address>& buffers, void* results);
    void reserve(std::size_t count);
    void write(Address address, const void* data, std::size_t bytes);
    void read(void* data, Address address, std::size_t bytes);
    void synchronize();

    Region region(const Target* targets, std::size_t count, bool moves, const spcnet_frame& frame) const;
    void upload(const spcnet_frame& frame, const Region& region);
    void check_owner(const spcnet_frame& frame, int plane) const;
    void configure();
    void call_network(int images);
    void run(Work work, std::size_t first, std::size_t count);
    void list(int buffer, const std::vector<int>& slots, std::vector<int>& listed);
    void run_batches(Work work, std::size_t count);
    void run_all(Work work);
    void forget_graphs();
    const device::Measurement& result(std::size_t position) const;

    Driver driver_;
    Plan plan_;
    std::string name_; // of the GPU
    int gpu_ = 0, device_ = 0; // its number, and the driver's handle
    void *context_ = nullptr, *module_ = nullptr, *stream_ = nullptr, *event_ = nullptr;
    void* const foreign_; // stream
    std::vector<void*> functions_; // of the kernels
    std::vector<Address> buffers_; // of the plan; 0: none
    void* results_ = nullptr; // the buffer of that name, as the host sees it
    unsigned char* staging_ = nullptr; // page-locked, for the frame
    std::size_t staged_ = 0; // its bytes, and those of the frame's buffer
    std::size_t capacity_ = 0; // slots; there is a position more
    std::size_t work_ = 0; // targets that there is work space for at once
    std::vector<Graph> graphs_;
    bool capturable_ = true; // graphs can be recorded
    std::vector<Target> targets_;
    std::vector<int> slots_, due_; // of the targets; of those that may learn in this frame
    std::vector<int> listed_, due_listed_; // in the lists on the device
    Array<float> responses_, colour_, joint_; // of a target
};

} // namespace spc
