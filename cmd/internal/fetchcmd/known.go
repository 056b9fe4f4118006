package fetchcmd

import (
	_ "embed"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ds4-go/ds4/modules/fetch"
)

//go:embed known.txt
var knownText string

// File is one published file.
type File struct {
	Name   string // what is typed
	Kind   string // "model", "draft" or "data"
	Bytes  int64  // 0 unknown
	SHA256 string // empty unknown
	Memory int64  // bytes to run it; for a draft what it adds; 0 unknown
	From   string // owner/repository, or the folder of a plain address
	Path   string // below From; empty: not published under a name we know
	About  string
}

// Known lists the published files, in the order of the table.
func Known() []File {
	files, err := readKnown(knownText)
	if err != nil {
		panic(err) // our own table; a test reads it
	}
	return files
}

func readKnown(text string) ([]File, error) {
	var files []File
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		col := strings.Fields(line)
		if len(col) < 8 {
			return nil, fmt.Errorf("known files: line %d: want 8 columns, got %d", i+1, len(col))
		}
		for j := range col {
			if col[j] == "-" {
				col[j] = ""
			}
		}
		f := File{Name: col[0], Kind: col[1], SHA256: col[3], From: col[5], Path: col[6], About: strings.Join(col[7:], " ")}
		for j, p := range map[int]*int64{2: &f.Bytes, 4: &f.Memory} {
			if col[j] == "" {
				continue
			}
			n, err := strconv.ParseInt(col[j], 10, 64)
			if err != nil || n <= 0 {
				return nil, fmt.Errorf("known files: line %d: want a number of bytes, got %q", i+1, col[j])
			}
			*p = n
		}
		files = append(files, f)
	}
	return files, nil
}

// lookup returns the files of a name, and the names there are.
func lookup(name string) (files []File, names []string) {
	for _, f := range Known() {
		if f.Name == name {
			files = append(files, f)
		}
		if len(names) == 0 || names[len(names)-1] != f.Name {
			names = append(names, f.Name)
		}
	}
	return files, names
}

// plain reports whether the file is at an address of its own rather than on the hub.
func (f File) plain() bool { return strings.Contains(f.From, "://") }

// dest is where the file goes below dir. Several files of one name get a folder.
func (f File) dest(dir string) string {
	if f.plain() {
		return filepath.Join(dir, f.Name, filepath.FromSlash(f.Path))
	}
	return filepath.Join(dir, path.Base(f.Path))
}

// request is the download of the file, but for what the user adds.
func (f File) request(dir string) fetch.Request {
	r := fetch.Request{Dest: f.dest(dir), SHA256: f.SHA256}
	if f.plain() {
		r.URL = f.From + "/" + f.Path
	} else {
		r.Repo, r.File = f.From, f.Path
	}
	return r
}
