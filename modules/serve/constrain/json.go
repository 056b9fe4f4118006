package constrain

// Spaces that may stand between two values: one, or a line break and an indentation.
func space() expr {
	return opt(alt(lit(" "), seq(lit("\n"), atMost(32, one(bytes(' ', ' ', '\t', '\t'))))))
}

// char is one character inside a string: whole UTF-8, or an escape.
func char() expr {
	tail := one(bytes(0x80, 0xbf))
	hex := one(bytes('0', '9', 'a', 'f', 'A', 'F'))
	return alt(
		one(bytes(0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f)),
		seq(one(bytes(0xc2, 0xdf)), tail),
		seq(lit("\xe0"), one(bytes(0xa0, 0xbf)), tail),
		seq(one(bytes(0xe1, 0xec, 0xee, 0xef)), tail, tail),
		seq(lit("\xed"), one(bytes(0x80, 0x9f)), tail),
		seq(lit("\xf0"), one(bytes(0x90, 0xbf)), tail, tail),
		seq(one(bytes(0xf1, 0xf3)), tail, tail, tail),
		seq(lit("\xf4"), one(bytes(0x80, 0x8f)), tail, tail),
		seq(lit(`\`), alt(one(bytes('"', '"', '\\', '\\', '/', '/', 'b', 'b', 'f', 'f', 'n', 'n', 'r', 'r', 't', 't')),
			seq(lit("u"), hex, hex, hex, hex))),
	)
}

func digits() expr { return plus(one(bytes('0', '9'))) }

func integer() expr {
	return seq(opt(lit("-")), alt(lit("0"), seq(one(bytes('1', '9')), atMost(18, one(bytes('0', '9'))))))
}

func number() expr {
	return seq(integer(), opt(seq(lit("."), digits())), opt(seq(one(bytes('e', 'e', 'E', 'E')), opt(one(bytes('+', '+', '-', '-'))), one(bytes('0', '9')), opt(one(bytes('0', '9'))))))
}

// list is items between brackets, separated by commas.
func (k kinds) list(open, end string, item expr) expr {
	return seq(lit(open), k.space, opt(seq(item, k.space, star(seq(lit(","), k.space, item, k.space)))), lit(end))
}

// kinds are the rules of JSON.
type kinds struct {
	value, str, object, array, space expr
}

func (p *program) json(a alphabet) kinds {
	value, defineValue := p.rule()
	str, defineStr := p.rule()
	object, defineObject := p.rule()
	array, defineArray := p.rule()
	blank, defineBlank := p.rule()
	k := kinds{value, str, object, array, blank}
	defineBlank(space())
	defineStr(seq(lit(`"`), star(a.char()), lit(`"`)))
	defineObject(k.list("{", "}", seq(str, blank, lit(":"), blank, value)))
	defineArray(k.list("[", "]", value))
	defineValue(alt(str, object, array, number(), lit("true"), lit("false"), lit("null")))
	return k
}

// JSON is any JSON object.
func JSON() *Grammar {
	p := &program{}
	k := p.json(alphabet{})
	g, _ := p.finish(seq(k.space, k.object)) // it is small
	return g
}
