// Command ds4 runs DeepSeek V4 Flash on hardware that people own.
package main

func main() {}
