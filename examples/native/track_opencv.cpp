// Track one target through a video with OpenCV, and write the video with its box.
//
//   ./track_opencv MODEL.spcnet VIDEO X Y W H OUT.avi
//
// Build: c++ -std=c++17 track_opencv.cpp -o track_opencv $(pkg-config --cflags --libs spcnet opencv4)
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <spcnet.h>

int main(int count, char** words) {
    if (count != 8) {
        std::fprintf(stderr, "usage: %s MODEL.spcnet VIDEO X Y W H OUT.avi\n", words[0]);
        return 2;
    }
    char message[SPCNET_MESSAGE];
    spcnet* opened = nullptr;
    if (spcnet_open(words[1], 1, &opened, message, sizeof message)) {
        std::fprintf(stderr, "%s\n", message);
        return 1;
    }
    const std::unique_ptr<spcnet, void (*)(spcnet*)> tracker(opened, spcnet_close);
    cv::VideoCapture video(words[2]);
    cv::VideoWriter out;
    spcnet_box box{std::atof(words[3]), std::atof(words[4]), std::atof(words[5]), std::atof(words[6])};
    cv::Mat image;
    for (long number = 0; video.read(image); ++number) {
        const spcnet_frame frame{{image.data}, {static_cast<std::ptrdiff_t>(image.step)}, image.cols, image.rows, SPCNET_BGR, SPCNET_HOST};
        spcnet_result result{};
        const spcnet_code code = number ? spcnet_update(tracker.get(), &frame, &result, 1, nullptr)
                                        : spcnet_add(tracker.get(), &frame, box, &result.id);
        if (code) {
            std::fprintf(stderr, "%s\n", spcnet_last_error(tracker.get()));
            return 1;
        }
        if (number) box = result.box;
        cv::rectangle(image, cv::Rect2d(box.x, box.y, box.w, box.h), {0, 255, result.status == SPCNET_LOST ? 255.0 : 0.0}, 2);
        if (!number) out.open(words[7], cv::VideoWriter::fourcc('M', 'J', 'P', 'G'), 25, image.size());
        out.write(image);
        if (number) std::printf("%ld %.2f %.2f %.2f %.2f\n", number, box.x, box.y, box.w, box.h);
    }
}
