// Memory of a fixed size.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>

namespace spc {

// Numbers in memory of their own, at first 0, aligned for every vector. Throws std::bad_alloc.
template <class T> class Array {
public:
    Array() = default;
    explicit Array(std::size_t size) : size_(size) {
        if (size > ~std::size_t(0) / 2 / sizeof(T)) throw std::bad_alloc();
        data_ = static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t(64)));
        std::memset(static_cast<void*>(data_), 0, size * sizeof(T));
    }
    Array(Array&& other) noexcept : data_(other.data_), size_(other.size_) {
        other.data_ = nullptr;
        other.size_ = 0;
    }
    Array& operator=(Array&& other) noexcept {
        T* data = data_;
        std::size_t size = size_;
        data_ = other.data_;
        size_ = other.size_;
        other.data_ = data;
        other.size_ = size;
        return *this;
    }
    ~Array() { ::operator delete(data_, std::align_val_t(64)); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace spc
