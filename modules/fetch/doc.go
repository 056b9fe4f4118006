// Package fetch downloads files from the Hugging Face hub: resumable, verified, whole or not at all.
package fetch
