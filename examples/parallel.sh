#!/bin/sh
# Predict for the lines of a large file on all processors, in order: one line out for each line in.
#
#     examples/parallel.sh MODEL.safetensors lines.txt > predicted.tsv
#
# GNU parallel cuts the file into blocks of whole lines and keeps their order. It starts a process for each processor,
# so each gets one thread. With --sshloginfile it does the same on many machines, on which MODEL must lie at that path.
set -eu
model=$1 lines=$2
exec parallel --will-cite --pipe-part --arg-file "$lines" --block "${BLOCK:-4M}" --keep-order \
    "${CHARRNN:-charrnn}" predict -c "$model" --threads 1 --quiet
