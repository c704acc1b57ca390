#!/bin/sh
# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
#
# Rebuilds sipsess/sounds/*.wav: speech by espeak-ng, telephone format by sox.
# On Debian: apt install espeak-ng sox. Usage: tools/make_sounds.sh [DIRECTORY]
set -eu

cd "$(dirname "$0")/.."
target=${1:-sipsess/sounds}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# $1 name, $2 text: a calm voice, the silence around it cut, the telephone band, mu-law at 8 kHz.
# -R makes the dither, and with it the file, the same each time.
say() {
    espeak-ng -v en-gb -s 150 -p 45 -a 120 -g 2 -w "$work/speech.wav" "$2"
    sox -R "$work/speech.wav" -r 8000 -c 1 "$work/cut.wav" \
        highpass 200 lowpass 3400 \
        silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse \
        norm -2 pad 0.05 0.1
    sox -R "$work/cut.wav" -e mu-law -b 8 "$target/$1.wav"
}

say hello "Hello, this is sip sess. Press a key, and I will say it. Press pound to hang up."
say goodbye "Goodbye."
say 0 "zero"
say 1 "one"
say 2 "two"
say 3 "three"
say 4 "four"
say 5 "five"
say 6 "six"
say 7 "seven"
say 8 "eight"
say 9 "nine"
say star "star"
say pound "pound"
say a "ay."
say b "bee."
say c "see."
say d "dee."

sox -R -n -r 8000 -c 1 -e mu-law -b 8 "$target/beep.wav" \
    synth 0.3 sine 1000 fade t 0.01 0.3 0.01 gain -12
