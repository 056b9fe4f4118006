// AttnOut is two products, each after the int8 form of its input: matmul.cu. attend.cu makes the first form as it
// stores its output.
