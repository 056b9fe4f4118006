"""Word lists of the data generator."""
NOUNS = """river mountain garden stone bridge winter summer morning evening light shadow sound silence paper book letter lamp
window door table chair cup bottle spoon knife boat train wheel engine cloud rain snow wind forest tree leaf flower apple pear
lemon bread honey salt horse dog cat bird fox owl wolf bear fish mouse star moon planet rocket island harbour castle tower
village market school library museum station road map clock bell drum piano violin song story poem letter pencil ruler basket
blanket mirror candle ladder hammer anchor compass ticket pocket button ribbon carpet pillow kettle oven garden fence barn""".split()
NOUNS = sorted(set(NOUNS))
ADJECTIVES = """small large quiet bright early late golden simple honest careful patient curious gentle brave calm clever cold
warm dark deep dry eager fair fast fresh happy heavy kind lively lucky neat noble old proud quick rapid rare sharp shy silver
slow smooth soft solid steady strong sunny swift tidy tiny warm wild wise young""".split()
VERBS = """read write hold turn open fold learn keep find follow carry build paint plant sing walk run jump wait watch mix cut
fix send bring call draw drive move pack play pull push rest ride sail save show sleep smile spin start stop swim talk teach
test throw touch trade visit wash win work""".split()
COLOURS = "red green blue yellow orange purple brown black white grey pink teal amber crimson violet".split()
NAMES = """Ada Alan Amir Anna Ben Carla Chen Clara Dana David Elena Emma Erik Eva Felix Fatima Grace Hana Hugo Ida Ines Ivan
Jan Julia Karl Kenji Lara Lena Leo Lina Luis Maria Mia Milo Nina Noah Nora Olga Omar Otto Pavel Petra Quinn Rosa Ruth Sam Sara
Sofia Tara Theo Tom Uma Vera Victor Wanda Yara Yuki Zoe""".split()
CITIES = """Paris Rome Berlin Madrid Oslo Vienna Prague Dublin Lisbon Athens Cairo Tokyo Lima Quito Delhi Seoul Sydney Boston
Chicago Toronto Nairobi Accra Hanoi Manila Zurich Geneva Milan Turin Naples Warsaw Krakow Helsinki Stockholm Hamburg Munich
Lyon Porto Seville Bergen Riga""".split()
PLACES = "drawer shelf basket garden kitchen office attic cellar garage cupboard hallway workshop".split()
