module go_client

go 1.21
