// Package stories tells what people do with ds4, and holds it to that: the program serves the demo model in a process of
// its own, and the client libraries of OpenAI and Anthropic talk to it. Answers are greedy and known; what the demo model is
// asked is like what it was taught.
package stories
