"""ME6xx: the output, and the run that writes it."""

from __future__ import annotations

from mapengine.codes.code import Code

OUTPUT = {
    "ME601": Code(
        "no file for what is written",
        "The side that is written names no file, a tensor belongs to none of its files, or the "
        "format cannot hold what is to be written.",
        "ME601 target.config: model.safetensors is no torch file, and only those hold a config "
        "beside tensors",
        "Name the files under the side's `tensors`; take another `--format`.",
    ),
    "ME602": Code(
        "two files of one name",
        "Two things that are written (a shard, a config, a file carried over) have one name.",
        "ME602 two files of the output are called config.json",
        "Rename one in the mapping.",
    ),
    "ME603": Code(
        "no name for a file",
        "A file of the output would have a name that leads elsewhere, or is too long.",
        "ME603 '../model.safetensors' is not the name of a file in the folder",
        "Correct the pattern under `tensors` of the side that is written, or the value it uses.",
    ),
    "ME611": Code(
        "the output is in the way",
        "What is at the path is no folder, is not empty, was not written by mapengine, or lies "
        "within the source.",
        "ME611 ./converted is not empty",
        "Name another path; `--overwrite` replaces what a run has written, and nothing else.",
    ),
    "ME612": Code(
        "the place cannot be written to",
        "The parent folder is not there or not writable, or the path is none.",
        "ME612 /models is not a folder",
        "Create it, or name another path.",
    ),
    "ME613": Code(
        "the disk is too small",
        "There is less room than the output takes.",
        "ME613 /models has 1,000,000 bytes free, 93,405,585,408 are needed: 93,404,585,408 are "
        "missing",
        "Make room, or name an output on another disk.",
    ),
    "ME614": Code(
        "writing failed",
        "The system refused a write while running. What was finished is kept, as the message says.",
        "ME614 /models/out: No space left on device; 12 shards are kept",
        "Remove the cause, and give the same command: it goes on from there.",
    ),
    "ME615": Code(
        "the source has changed",
        "A file of the source is not what it was when the plan was made.",
        "ME615 model.safetensors has changed since it was planned",
        "Wait until it is written; run again.",
    ),
    "ME616": Code(
        "another run is at work",
        "Another process writes this output now.",
        "ME616 ./converted is at work for process 4711",
        "Wait for it, or name another output.",
    ),
    "ME617": Code(
        "an unfinished run was another one",
        "What an interrupted run has left was made with another mapping, source or option.",
        "ME617 an unfinished run into ./converted was another one: dtype changed",
        "Run it as it was; or `--restart`, which discards what it left.",
    ),
    "ME618": Code(
        "a saved plan that is out of date",
        "The mapping, the source or the version is not what the plan was made with.",
        "ME618 plan.json is out of date: the mapping has changed since it was made",
        "Look at the plan again: `mapengine plan -o` makes it anew.",
    ),
    "ME619": Code(
        "no saved plan",
        "The file is not what `mapengine plan -o` writes.",
        "ME619 plan.json is no saved plan: it is not JSON",
        "`mapengine plan -o` makes one.",
    ),
    "ME620": Code(
        "parts are missing",
        "An output is published when every shard of it has been made, and some have not.",
        "ME620 2 of 24 shards of ./converted are missing: model-00003-of-00024.safetensors, "
        "model-00011-of-00024.safetensors",
        "Run the part that the message names: what it has made already is kept. Then publish.",
    ),
    "ME621": Code(
        "nothing to publish",
        "No part of this output has been made, or nothing is left of it.",
        "ME621 no part of ./converted has been made",
        "Make the parts: `mapengine run MAPPING -s DIR -o DIR --part 1/8`, and so on.",
    ),
    "ME622": Code(
        "no such part",
        "A part is named by its number and how many there are, and the first is number 1.",
        "ME622 '0/8' is no part: 2/8 is the second of eight, and they begin with 1/8",
        "Where a scheduler counts from 0, add 1: `--part $((JOB_COMPLETION_INDEX + 1))/8`.",
    ),
    "ME623": Code(
        "a node that sees something else",
        "A node of the cluster does not see the source, the output or the mapping as the one does "
        "that began the run.",
        "ME623 node worker-3 sees something else: the source differ",
        "Put source and output on storage that all nodes share, under the same paths, and the same "
        "version of mapengine on every node.",
    ),
    "ME624": Code(
        "the cluster did not do it",
        "Ray is not installed, there is no cluster, no node has enough memory, or a task was lost "
        "each time it was tried.",
        "ME624 ray is not installed",
        "`pip install 'mapengine[ray]'`; else what the message says. What is finished is kept.",
    ),
}
