/* Track one target through raw BGR frames on standard input, and print its box in each.
 *
 *   ffmpeg -loglevel error -i VIDEO -f rawvideo -pix_fmt bgr24 - | ./track MODEL.spcnet WIDTH HEIGHT X Y W H
 *
 * Build: cc track.c -o track $(pkg-config --cflags --libs spcnet)
 */
#include <stdio.h>
#include <stdlib.h>

#include <spcnet.h>

static const char *const STATUS[] = {"TRACKING", "UNCERTAIN", "LOST"};

/* Read a whole frame; 0 where the input ends. */
static int next_frame(unsigned char *pixels, size_t bytes) {
    return fread(pixels, 1, bytes, stdin) == bytes;
}

int main(int count, char **words) {
    if (count != 8) {
        fprintf(stderr, "usage: %s MODEL.spcnet WIDTH HEIGHT X Y W H < FRAMES\n", words[0]);
        return 2;
    }
    int width = atoi(words[2]), height = atoi(words[3]);
    spcnet_box box = {atof(words[4]), atof(words[5]), atof(words[6]), atof(words[7])};
    if (width < 1 || height < 1 || width > 32766 || height > 32766) {
        fprintf(stderr, "the frame is %d x %d px; give sides from 1 to 32766\n", width, height);
        return 2;
    }
    size_t bytes = (size_t)width * (size_t)height * 3;
    unsigned char *pixels = malloc(bytes);
    spcnet_frame frame = {.data = {pixels}, .stride = {width * 3}, .width = width, .height = height, .format = SPCNET_BGR};

    char message[SPCNET_MESSAGE];
    spcnet *tracker;
    if (!pixels || spcnet_open(words[1], 1, &tracker, message, sizeof message)) {
        fprintf(stderr, "%s\n", pixels ? message : "no memory for a frame");
        return 1;
    }
    int id, status = 1;
    if (!next_frame(pixels, bytes)) {
        fprintf(stderr, "the input has no whole frame; give raw BGR frames of %d x %d\n", width, height);
    } else if (spcnet_add(tracker, &frame, box, &id)) {
        fprintf(stderr, "%s\n", spcnet_last_error(tracker));
    } else {
        spcnet_result result;
        status = 0;
        for (long number = 1; !status && next_frame(pixels, bytes); ++number) {
            status = spcnet_update(tracker, &frame, &result, 1, NULL) != SPCNET_OK;
            if (status)
                fprintf(stderr, "%s\n", spcnet_last_error(tracker));
            else
                printf("%ld %.2f %.2f %.2f %.2f %.3f %s\n", number, result.box.x, result.box.y, result.box.w,
                    result.box.h, result.score, STATUS[result.status]);
        }
    }
    spcnet_close(tracker);
    free(pixels);
    return status;
}
