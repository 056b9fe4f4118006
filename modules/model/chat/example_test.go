package chat_test

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/model/chat"
)

func ExampleRender() {
	segments, err := chat.Render([]chat.Message{
		{Role: chat.RoleSystem, Content: "Be brief."},
		{Role: chat.RoleUser, Content: "What does <｜User｜> mean?"},
	}, chat.Options{Thinking: chat.On})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range segments {
		kind := "template"
		if s.Kind == chat.Data {
			kind = "data    "
		}
		fmt.Printf("%2d %s %s\n", s.Message, kind, s.Text)
	}
	// Output:
	// -1 template <｜begin▁of▁sentence｜>
	//  0 data     Be brief.
	//  1 template <｜User｜>
	//  1 data     What does <｜User｜> mean?
	//  2 template <｜Assistant｜><think>
}

func ExampleParser() {
	p := chat.NewParser(chat.ParserOptions{Thinking: true, NewID: func() string { return "call_1" }})
	show := func(events []chat.Event) {
		for _, e := range events {
			switch e.Kind {
			case chat.Reasoning:
				fmt.Printf("reasoning %q\n", e.Text)
			case chat.Content:
				fmt.Printf("content   %q\n", e.Text)
			case chat.ToolStart:
				fmt.Printf("call      %s %s\n", e.ID, e.Name)
			case chat.ToolArgs:
				fmt.Printf("arguments %s\n", e.Text)
			case chat.ToolEnd:
				fmt.Println("call ends")
			case chat.Done:
				fmt.Println("done")
			}
		}
	}
	for _, piece := range []string{
		"Look it", " up.</thi", "nk>One moment.\n\n<", "｜DSML｜", "tool_calls>\n<", "｜DSML｜", "invoke name=\"weather\">\n<",
		"｜DSML｜", "parameter name=\"city\" string=\"true\">Par", "is</", "｜DSML｜", "parameter>\n</", "｜DSML｜", "invoke>\n</",
		"｜DSML｜", "tool_calls>",
	} {
		show(p.Write(piece))
	}
	events, result := p.Finish(chat.EndEOS)
	show(events)
	fmt.Println(result.Finish, result.Message.ToolCalls[0].Arguments)
	// Output:
	// reasoning "Look it"
	// reasoning " up."
	// content   "One moment."
	// call      call_1 weather
	// arguments {"city":"Par
	// arguments is
	// arguments "
	// arguments }
	// call ends
	// done
	// tool_calls {"city":"Paris"}
}
