"""Export: a checkpoint to the model file that the runtime loads, proved equal to the network it came from."""
