// Package demo holds the demo model: a few million parameters of the DeepSeek V4 architecture, trained on text that the
// project makes itself (tools/demo-model, docs/demo-model.md). It chats, thinks, calls tools and stops, and is often wrong.
//
// The model's file and its draft head's, which guesses ahead, are part of every program that imports the package.
package demo
