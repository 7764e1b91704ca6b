// SHA-256 (FIPS 180-4), of bytes in pieces.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spc {

class Sha256 {
public:
    void add(const void* data, std::size_t bytes);
    void finish(char digest[64]); // in lower-case hexadecimal digits; call it once

private:
    void block();

    std::uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::uint8_t pending_[64];
    std::uint64_t length_ = 0; // bytes added
};

} // namespace spc
