module pressure

go 1.22
