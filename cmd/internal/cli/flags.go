package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Set is the flags of one command. A flag is named as it is shown, "-p, --prompt"; one dash or two, a space or "=",
// all are understood. Flags and other arguments may be mixed; "--" ends the flags.
type Set struct {
	name, about string
	usage       []string
	notes       []string
	fs          *flag.FlagSet
	groups      []group
	given       map[string]bool
}

type group struct {
	title string
	flags []shown
}

type shown struct {
	names, arg, help string
}

// New makes the flags of the command called name ("ds4 inspect"), with a line of what it is for and its usage lines.
func New(name, about string, usage ...string) *Set {
	s := &Set{name: name, about: about, usage: usage, fs: flag.NewFlagSet(name, flag.ContinueOnError), given: map[string]bool{}}
	s.fs.SetOutput(io.Discard)
	return s
}

// Name is the command's name, as given to New.
func (s *Set) Name() string { return s.name }

// Group starts a titled part of the help; the flags that follow belong to it.
func (s *Set) Group(title string) { s.groups = append(s.groups, group{title: title}) }

// Note adds a paragraph to the end of the help, printed as it is.
func (s *Set) Note(text string) { s.notes = append(s.notes, strings.Trim(text, "\n")) }

func split(names string) []string {
	var out []string
	for _, n := range strings.Split(names, ",") {
		out = append(out, strings.TrimLeft(strings.TrimSpace(n), "-"))
	}
	return out
}

// add declares a flag under all of its names. A flag whose help is empty works but is not listed.
func (s *Set) add(names, arg, help string, isBool bool, set func(string) error) {
	if help != "" {
		if len(s.groups) == 0 {
			s.Group("flags")
		}
		g := &s.groups[len(s.groups)-1]
		g.flags = append(g.flags, shown{names, arg, help})
	}
	all := split(names)
	mark := func(v string) error {
		for _, n := range all {
			s.given[n] = true
		}
		return set(v)
	}
	for _, n := range all {
		if isBool {
			s.fs.BoolFunc(n, "", mark)
		} else {
			s.fs.Func(n, "", mark)
		}
	}
}

// String declares a flag with a text; *p is its default.
func (s *Set) String(p *string, names, arg, help string) {
	if *p != "" && help != "" {
		help += fmt.Sprintf(" (%s)", *p)
	}
	s.add(names, arg, help, false, func(v string) error { *p = v; return nil })
}

// Bool declares a switch. "--name=false" turns it off.
func (s *Set) Bool(p *bool, names, help string) {
	s.add(names, "", help, true, func(v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("want true or false, got %q", v)
		}
		*p = b
		return nil
	})
}

// Set declares a switch that does something.
func (s *Set) Set(names, help string, do func()) {
	s.add(names, "", help, true, func(string) error { do(); return nil })
}

// Int declares a whole number between min and max; *p is its default.
func (s *Set) Int(p *int, names, arg, help string, min, max int) {
	if *p != 0 && help != "" {
		help += fmt.Sprintf(" (%d)", *p)
	}
	s.add(names, arg, help, false, func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < min || n > max {
			return fmt.Errorf("want a whole number from %d to %d, got %q", min, max, v)
		}
		*p = n
		return nil
	})
}

// Uint declares a whole number above 0.
func (s *Set) Uint(p *uint64, names, arg, help string) {
	s.add(names, arg, help, false, func(v string) error {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil || n == 0 {
			return fmt.Errorf("want a whole number above 0, got %q", v)
		}
		*p = n
		return nil
	})
}

// Float declares a number between min and max; *p is its default.
func (s *Set) Float(p *float64, names, arg, help string, min, max float64) {
	if *p != 0 && help != "" {
		help += fmt.Sprintf(" (%g)", *p)
	}
	s.add(names, arg, help, false, func(v string) error {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || !(n >= min && n <= max) {
			return fmt.Errorf("want a number from %g to %g, got %q", min, max, v)
		}
		*p = n
		return nil
	})
}

// Given says whether the flag was on the command line, under any of its names.
func (s *Set) Given(name string) bool { return s.given[strings.TrimLeft(name, "-")] }

// Parse reads the arguments and returns those that are no flags. For -h and --help it prints the help to stdout and
// returns flag.ErrHelp, which Exit takes for success. Other errors are UsageErrors.
func (s *Set) Parse(args []string, stdout io.Writer) (rest []string, err error) {
	for {
		if err := s.fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				s.Help(stdout)
				return nil, err
			}
			return nil, s.Usagef("%s", s.explain(err))
		}
		left := s.fs.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if used := len(args) - len(left); used > 0 && args[used-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// explain puts the flag package's messages into our words: the thing, wanted, got.
func (s *Set) explain(err error) string {
	msg := err.Error()
	if name, ok := strings.CutPrefix(msg, "flag provided but not defined: -"); ok {
		return "unknown flag " + dashed(name) + s.near(name)
	}
	if name, ok := strings.CutPrefix(msg, "flag needs an argument: -"); ok {
		return dashed(name) + ": want a value, got nothing"
	}
	for _, p := range []string{"invalid value ", "invalid boolean value "} {
		// invalid value "x" for flag -name: why
		if tail, ok := strings.CutPrefix(msg, p); ok {
			if _, tail, ok = strings.Cut(tail, " for flag -"); ok {
				name, why, _ := strings.Cut(tail, ": ")
				return dashed(name) + ": " + why
			}
			_, tail, _ = strings.Cut(msg, " for -")
			name, why, _ := strings.Cut(tail, ": ")
			return dashed(name) + ": " + why
		}
	}
	return msg
}

func dashed(name string) string {
	if utf8.RuneCountInString(name) == 1 || name == "sys" {
		return "-" + name
	}
	return "--" + name
}

// near suggests the flag that was probably meant.
func (s *Set) near(name string) string {
	var all []string
	s.fs.VisitAll(func(f *flag.Flag) { all = append(all, f.Name) })
	if best := Nearest(name, all); best != "" {
		return fmt.Sprintf("; did you mean %s?", dashed(best))
	}
	return ""
}

// Nearest is the candidate that name was probably meant to be, or "": two letters away, or a third of them.
func Nearest(name string, candidates []string) string {
	best, least := "", min(max(len(name)/3, 2)+1, len(name))
	for _, c := range candidates {
		if d := distance(name, c); len(c) > 1 && d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0]++
		for j := range len(b) {
			d := diag
			if a[i] != b[j] {
				d++
			}
			diag = row[j+1]
			row[j+1] = slices.Min([]int{d, row[j] + 1, diag + 1})
		}
	}
	return row[len(b)]
}

// Help prints the help text.
func (s *Set) Help(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nusage:\n", s.name, s.about)
	for _, u := range s.usage {
		fmt.Fprintf(&b, "  %s\n", u)
	}
	width := 0
	for _, g := range s.groups {
		for _, f := range g.flags {
			width = max(width, len(f.left()))
		}
	}
	width = min(width, 30)
	for _, g := range s.groups {
		fmt.Fprintf(&b, "\n%s:\n", g.title)
		for _, f := range g.flags {
			left := f.left()
			if len(left) > width {
				fmt.Fprintf(&b, "  %s\n", left)
				left = ""
			}
			help := strings.ReplaceAll(f.help, "\n", "\n"+strings.Repeat(" ", width+4))
			fmt.Fprintf(&b, "  %-*s  %s\n", width, left, help)
		}
	}
	for _, n := range s.notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	_, _ = io.WriteString(w, b.String()) // a closed pipe is no reason to complain about
}

func (f shown) left() string {
	if f.arg == "" {
		return f.names
	}
	return f.names + " " + f.arg
}
