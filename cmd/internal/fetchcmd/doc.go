// Package fetchcmd is the command "ds4 fetch": it knows the published model
// files by short names, says what it is about to do, shows how it goes, and
// points ds4flash.gguf at a model once that is whole and verified.
//
// The transfer itself is modules/fetch. The files are listed in known.txt: a new
// checkpoint is one line there. The environment is read here and nowhere below:
// HF_ENDPOINT, HF_TOKEN, HF_HOME.
package fetchcmd
