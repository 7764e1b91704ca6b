/* Track one target in a GStreamer pipeline that ends in an appsink, and print its box in each frame.
 *
 *   ./track_gstreamer MODEL.spcnet X Y W H \
 *       "filesrc location=VIDEO ! decodebin ! videoconvert ! video/x-raw,format=NV12 ! appsink name=sink sync=false"
 *
 * The frames are read where the pipeline has them, in NV12, I420, BGR, RGB, BGRA, RGBA, GRAY8 or YUY2.
 * Build: cc track_gstreamer.c -o track_gstreamer \
 *            $(pkg-config --cflags --libs spcnet gstreamer-app-1.0 gstreamer-video-1.0)
 */
#include <stdio.h>
#include <stdlib.h>

#include <gst/app/gstappsink.h>
#include <gst/video/video.h>
#include <spcnet.h>

static int format_of(GstVideoFormat format) {
    switch (format) {
    case GST_VIDEO_FORMAT_BGR: return SPCNET_BGR;
    case GST_VIDEO_FORMAT_RGB: return SPCNET_RGB;
    case GST_VIDEO_FORMAT_BGRA: return SPCNET_BGRA;
    case GST_VIDEO_FORMAT_RGBA: return SPCNET_RGBA;
    case GST_VIDEO_FORMAT_GRAY8: return SPCNET_GREY;
    case GST_VIDEO_FORMAT_NV12: return SPCNET_NV12;
    case GST_VIDEO_FORMAT_I420: return SPCNET_I420;
    case GST_VIDEO_FORMAT_YUY2: return SPCNET_YUYV;
    default: return -1;
    }
}

int main(int count, char **words) {
    gst_init(&count, &words);
    if (count != 7) {
        fprintf(stderr, "usage: %s MODEL.spcnet X Y W H PIPELINE\n", words[0]);
        return 2;
    }
    char message[SPCNET_MESSAGE];
    spcnet *tracker;
    if (spcnet_open(words[1], 1, &tracker, message, sizeof message)) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    spcnet_box box = {atof(words[2]), atof(words[3]), atof(words[4]), atof(words[5])};
    GError *error = NULL;
    GstElement *pipeline = gst_parse_launch(words[6], &error);
    GstElement *sink = pipeline && !error ? gst_bin_get_by_name(GST_BIN(pipeline), "sink") : NULL;
    if (!sink) {
        fprintf(stderr, "no pipeline with an appsink name=sink: %s\n", error ? error->message : words[6]);
        return 1;
    }
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    int id, status = 0;
    GstSample *sample;
    for (long number = 0; !status && (sample = gst_app_sink_pull_sample(GST_APP_SINK(sink))); ++number) {
        GstVideoInfo info;
        GstVideoFrame mapped;
        if (!gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) || format_of(GST_VIDEO_INFO_FORMAT(&info)) < 0 ||
            !gst_video_frame_map(&mapped, &info, gst_sample_get_buffer(sample), GST_MAP_READ)) {
            fprintf(stderr, "the frames have no format of spcnet.h; put a videoconvert before the appsink\n");
            gst_sample_unref(sample);
            status = 1;
            break;
        }
        spcnet_frame frame = {.width = info.width, .height = info.height,
            .format = format_of(GST_VIDEO_INFO_FORMAT(&info))};
        for (guint plane = 0; plane < GST_VIDEO_FRAME_N_PLANES(&mapped); ++plane) {
            frame.data[plane] = GST_VIDEO_FRAME_PLANE_DATA(&mapped, plane);
            frame.stride[plane] = GST_VIDEO_FRAME_PLANE_STRIDE(&mapped, plane);
        }
        spcnet_result result;
        if (number ? spcnet_update(tracker, &frame, &result, 1, NULL) : spcnet_add(tracker, &frame, box, &id)) {
            fprintf(stderr, "%s\n", spcnet_last_error(tracker));
            status = 1;
        } else if (number) {
            printf("%ld %.2f %.2f %.2f %.2f\n", number, result.box.x, result.box.y, result.box.w, result.box.h);
        }
        gst_video_frame_unmap(&mapped);
        gst_sample_unref(sample);
    }
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(sink);
    gst_object_unref(pipeline);
    spcnet_close(tracker);
    return status;
}
