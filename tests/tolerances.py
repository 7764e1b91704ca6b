"""The one table of tolerances: what is compared -> (absolute, relative), with its reason."""

# Grey levels of a bilinear sample: its float32 coordinate is off by 2**-17 below 128 px, times 255 levels.
PATCH = 4e-3
# float32 against float64 over sums of up to 125 x 125 terms, relative to the largest value.
SPECTRUM = 2e-6
# The band leaves out what is below BAND_FLOOR of the label's spectrum; the filter undoes some of it.
BAND = 1e-5
# Learning and responding on the same patch gives back the label (the contract of the project).
LABEL = 1e-5
# Sub-pixel and sub-scale refinement of a sampled Gaussian by parabolas, in cells and in steps.
PEAK = 0.03
# Torch and NumPy do the same float32 sums in another order.
FILTER = 1e-5
# Central differences in float64.
GRADIENT = 1e-6
# The same, after a backbone that differs by 1e-6 of its largest feature, divided by small energies.
RESPONSE = 1e-4
# A mean likelihood: two float32 products of up to 125 terms each, of values up to 1.
COLOUR = 2e-6
# A training patch of a prepared frame, in grey levels, mean and largest mean of a patch: JPEG of quality 95
# with colour at half the resolution, and pixels averaged where the video itself is sampled at points. Boxes a
# pixel off give 5.4.
SHARD = (2.0, 3.0)
# Two processes add up the gradients of half a batch each: other float32 roundings, over eleven steps.
# Relative to the largest value of each tensor.
PROCESSES = 3e-5
# Box regression: four layers of float32 sums of up to 864 terms, relative to the largest answer.
HEAD = 1e-5
