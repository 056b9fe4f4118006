module github.com/ds4-go/ds4/modules/fetch

go 1.26
