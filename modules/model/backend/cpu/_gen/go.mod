module github.com/ds4-go/ds4/modules/model/backend/cpu/_gen

go 1.26
