package synth

import "strings"

// Special tokens of the demo model. The first three have the ids of the real vocabulary; a program finds the others by text.
var (
	demoFirst    = []string{"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"}
	demoSpecials = []string{
		"<｜User｜>", "<｜Assistant｜>", "<｜latest_reminder｜>",
		"<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>", "<｜title｜>", "<｜read_url｜>",
	}
	demoTags = []string{"<think>", "</think>", "｜DSML｜"}
)

// demoWords follow a space.
var demoWords = strings.Fields(`
	the a an and or but if then so not of to in on at by for from with into over under
	is are was has have can will may must does do did be this that these those it they we you
	model layer token tensor weight expert router stream window cache page row block head
	attention memory number question answer word sentence letter paper book river mountain
	garden stone bridge winter summer morning evening light shadow colour sound silence
	small large quiet bright early late green golden simple honest careful patient curious
	reads writes holds turns opens folds learns keeps finds follows carries forgets
	slowly gently often never always almost perhaps again together
	one two three four five ten hundred`)

// demoOpeners begin a sentence.
var demoOpeners = strings.Fields(`The A In On Every When Perhaps Nothing Here There We You It`)
