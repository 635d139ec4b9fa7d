/* Direct sparse convolution: each output channel is a sum of shifted input planes, one for each
 * weight that is not zero. The planes are vectors of positions, of which a tile at a time is summed
 * up in registers. Nothing is unrolled into a matrix.
 *
 * Sources: Park et al.: Faster CNNs with Direct Sparse Convolutions and Guided Pruning, ICLR 2017;
 * Elsen et al.: Fast Sparse ConvNets, CVPR 2020. */

#include <stdint.h>
#include <string.h>

/* Lanes of a vector, and vectors of a tile: as many as leave registers for all else. */
#if defined(__AVX512F__)
enum { LANES = 16, MOST = 14 };
#elif defined(__AVX__)
enum { LANES = 8, MOST = 12 };
#else
enum { LANES = 4, MOST = 12 };
#endif

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Mirrored by Layer in direct_convolution.py. */
typedef struct {
    int64_t channels, height, width;          /* of the input */
    int64_t stride_y, stride_x, pad_y, pad_x;
    int64_t phases, plane_height, plane_width, plane; /* of the packed input */
    int64_t rows, out_height, out_width, out_plane;   /* of the output, and of a wide channel */
    int64_t rectified, threads;
    const int64_t *phase;                     /* which rows and columns modulo the strides */
    const int32_t *start, *offset;            /* weights of a row, and where their planes begin */
    const float *value, *bias;
    float *packed, *wide, *wide_added;        /* null where not needed */
} layer;

static vector load(const float *from) { return *(const unaligned *)from; }
static void store(float *to, vector what) { *(unaligned *)to = what; }
static vector filled(float with) { return with - (vector){0}; }

/* A tile of T vectors for some rows. The last vector begins at `last`, and may overlap the one
 * before, so that nothing is read or written behind the end. */
#define AT(t) ((t) == T - 1 ? last : (t) * LANES)
#define EACH for (int t = 0; t < T; t++)
#define TILE(COUNT)                                                                            \
    static void tile_##COUNT(const layer *l, int64_t row, int64_t end, const float *in,        \
                             const float *added, float *out, int64_t out_plane, int64_t last) \
    {                                                                                          \
        enum { T = COUNT };                                                                    \
        for (; row < end; row++) {                                                             \
            vector sum[T], bias = filled(l->bias[row]);                                        \
            EACH sum[t] = bias;                                                                \
            for (int32_t e = l->start[row]; e < l->start[row + 1]; e++) {                      \
                const float *plane = in + l->offset[e];                                        \
                vector weight = filled(l->value[e]);                                           \
                EACH sum[t] += weight * load(plane + AT(t));                                   \
            }                                                                                  \
            if (added) EACH sum[t] += load(added + row * out_plane + AT(t));                   \
            if (l->rectified) EACH sum[t] = (vector)((bits)sum[t] & ~(sum[t] < 0));            \
            EACH store(out + row * out_plane + AT(t), sum[t]);                                 \
        }                                                                                      \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
TILE(13) TILE(14)

typedef void tile(const layer *, int64_t, int64_t, const float *, const float *, float *, int64_t,
                  int64_t);
static tile *const TILES[] = {0,      tile_1, tile_2, tile_3,  tile_4,  tile_5,  tile_6, tile_7,
                              tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14};

/* All rows at so many positions, LANES at least; tiles and rows are divided among the threads. */
static void multiply(const layer *l, const float *in, const float *added, float *out,
                     int64_t out_plane, int64_t positions)
{
    int64_t vectors = (positions + LANES - 1) / LANES;
    int64_t size = (vectors + MOST - 1) / MOST;
    size = (vectors + size - 1) / size; /* tiles of one size, but for the last */
    int64_t tiles = (vectors + size - 1) / size;
    int64_t parts = l->threads;
    #pragma omp parallel for collapse(2) num_threads(parts)
    for (int64_t i = 0; i < tiles; i++)
        for (int64_t part = 0; part < parts; part++) {
            int64_t first = i * size, begin = first * LANES;
            int64_t count = vectors - first < size ? vectors - first : size;
            int64_t last = (count - 1) * LANES;
            if (begin + last + LANES > positions) last = positions - LANES - begin;
            TILES[count](l, l->rows * part / parts, l->rows * (part + 1) / parts, in + begin,
                         added ? added + begin : 0, out + begin, out_plane, last);
        }
}

/* Rows of pixels from one pitch to another. */
static void move_rows(int64_t rows, int64_t width, const float *from, int64_t from_pitch, float *to,
                      int64_t to_pitch)
{
    for (int64_t y = 0; y < rows; y++)
        memcpy(to + y * to_pitch, from + y * from_pitch, width * sizeof(float));
}

/* The input with its padding, its rows and columns parted by their phase modulo the strides, so
 * that what a weight reads is contiguous. The padding is zero already. */
static void pack(const layer *l, const float *in)
{
    for (int64_t c = 0; c < l->channels; c++)
        for (int64_t p = 0; p < l->phases; p++) {
            int64_t top = l->phase[p] / l->stride_x - l->pad_y;
            int64_t left = l->phase[p] % l->stride_x - l->pad_x;
            int64_t begin = left < 0 ? (l->stride_x - 1 - left) / l->stride_x : 0;
            int64_t end = (l->width - left + l->stride_x - 1) / l->stride_x;
            if (end > l->plane_width) end = l->plane_width;
            for (int64_t y = 0; y < l->plane_height; y++) {
                int64_t row = y * l->stride_y + top;
                if (row < 0 || row >= l->height || begin >= end) continue;
                const float *from = in + (c * l->height + row) * l->width + left;
                float *to = l->packed + (c * l->phases + p) * l->plane + y * l->plane_width;
                if (l->stride_x == 1)
                    memcpy(to + begin, from + begin, (end - begin) * sizeof(float));
                else
                    for (int64_t x = begin; x < end; x++) to[x] = from[x * l->stride_x];
            }
        }
}

void convolve(const layer *l, int64_t examples, const float *in, const float *added, float *out)
{
    int64_t in_size = l->channels * l->height * l->width;
    int64_t out_rows = l->rows * l->out_height, out_size = out_rows * l->out_width;
    int64_t positions = (l->out_height - 1) * l->plane_width + l->out_width;
    if (positions < LANES) positions = LANES;
    for (int64_t n = 0; n < examples; n++) {
        const float *from = in + n * in_size, *more = added ? added + n * out_size : 0;
        float *to = out + n * out_size;
        if (l->packed) {
            pack(l, from);
            from = l->packed;
        }
        if (!l->wide) {
            multiply(l, from, more, to, l->out_plane, positions);
            continue;
        }
        /* Between the rows of a wide output is what the padding would give. */
        for (int64_t m = 0; m < l->rows && more; m++)
            move_rows(l->out_height, l->out_width, more + m * l->out_height * l->out_width,
                      l->out_width, l->wide_added + m * l->out_plane, l->plane_width);
        multiply(l, from, more ? l->wide_added : 0, l->wide, l->out_plane, positions);
        for (int64_t m = 0; m < l->rows; m++)
            move_rows(l->out_height, l->out_width, l->wide + m * l->out_plane, l->plane_width,
                      to + m * l->out_height * l->out_width, l->out_width);
    }
}
